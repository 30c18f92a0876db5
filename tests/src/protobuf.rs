//! Protobuf read without its schema: the fields of a message by their numbers.

use anyhow::{Context, Result, bail};

/// The fields of a message that have a length (texts, bytes, messages, packed lists), with their numbers and in their order; the others are passed over.
///
/// # Errors
/// When the bytes are no message.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                found.push((key >> 3, take(&mut bytes, length)?));
            }
            5 => drop(take(&mut bytes, 4)?),
            other => bail!("there is no wire type {other}"),
        }
    }
    Ok(found)
}

/// Every message that a path of field numbers leads to.
///
/// # Errors
/// When something on the way is no message.
pub fn along<'a>(bytes: &'a [u8], path: &[u64]) -> Result<Vec<&'a [u8]>> {
    let Some((number, rest)) = path.split_first() else { return Ok(vec![bytes]) };
    let mut found = Vec::new();
    for (_, inner) in fields(bytes)?.into_iter().filter(|(field, _)| field == number) {
        found.extend(along(inner, rest)?);
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for place in 0..10 {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than ten bytes")
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    bytes.split_off(..count).context("it ends in the middle of a field")
}

#[cfg(test)]
mod tests {
    use super::{along, fields};

    #[test]
    fn messages_are_found_by_the_numbers_of_their_fields() {
        // 1: {2: "ab", 3: 300}, 4: eight bytes, 5: four bytes, 1: {2: "c"}
        let bytes = b"\x0a\x07\x12\x02ab\x18\xac\x02\x21\0\0\0\0\0\0\0\0\x2d\0\0\0\0\x0a\x03\x12\x01c";
        assert_eq!(along(bytes, &[1, 2]).unwrap(), [&b"ab"[..], b"c"]);
        assert!(along(bytes, &[4]).unwrap().is_empty());
        for cut in [1, 3, 8, 12, bytes.len() - 1] {
            assert!(fields(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(fields(b"\x0b").is_err() && fields(&[0xff; 11]).is_err());
    }
}
