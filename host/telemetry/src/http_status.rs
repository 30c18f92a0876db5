//! HTTP statuses as label values: the registered codes, so that an upstream cannot make new series by inventing some.

use crate::intern::OTHER;

/// How many numbers [`number`] can give.
pub(crate) const COUNT: usize = CODES.len() + 1;

/// 0 stands for an exchange that ended before a head was sent; 499 is nginx's word for a client that left.
const CODES: [(u16, &str); 64] = [
    (200, "200"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (413, "413"),
    (429, "429"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (0, "none"),
    (100, "100"),
    (101, "101"),
    (102, "102"),
    (103, "103"),
    (201, "201"),
    (203, "203"),
    (205, "205"),
    (206, "206"),
    (207, "207"),
    (208, "208"),
    (226, "226"),
    (300, "300"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (305, "305"),
    (307, "307"),
    (308, "308"),
    (402, "402"),
    (407, "407"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (411, "411"),
    (412, "412"),
    (414, "414"),
    (415, "415"),
    (416, "416"),
    (417, "417"),
    (418, "418"),
    (421, "421"),
    (422, "422"),
    (423, "423"),
    (424, "424"),
    (425, "425"),
    (426, "426"),
    (428, "428"),
    (431, "431"),
    (451, "451"),
    (499, "499"),
    (501, "501"),
    (505, "505"),
    (506, "506"),
    (507, "507"),
    (508, "508"),
    (510, "510"),
    (511, "511"),
];

/// The place of a status in the table, common ones first; the last number for those outside it.
pub(crate) fn number(status: u16) -> usize {
    CODES.iter().position(|(code, _)| *code == status).unwrap_or(CODES.len())
}

/// The label value for a [`number`].
pub(crate) fn label(number: usize) -> &'static str {
    CODES.get(number).map_or(OTHER, |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use super::{CODES, COUNT, label, number};

    #[test]
    fn registered_codes_are_their_own_labels_and_the_rest_is_one() {
        for (code, text) in CODES {
            assert!(text == "none" || code.to_string() == text);
            assert_eq!(label(number(code)), text);
        }
        let others = (1..=u16::MAX).filter(|status| label(number(*status)) == "_other");
        assert_eq!(others.count(), usize::from(u16::MAX) - (CODES.len() - 1));
        assert!((0..=u16::MAX).all(|status| number(status) < COUNT));
    }
}
