//! The bytes that are measured: one `tools/call` of about 300 bytes each way, and just enough HTTP to find the end of an answer.

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;

/// The answer of the upstream, always the same.
pub const ANSWER: &str = concat!(
    r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[{"type":"text","text":""#,
    "Three results for the Analytical Engine: notes by the translator, the memoir of 1842, and a table of operations for the numbers ",
    r#"of Bernoulli. The first is the longest and the most useful to a reader who is new to it."}],"isError":false}}"#
);

/// A request that asks `host` for `path`.
pub fn tool_call(host: &str, path: &str, query: &str) -> Vec<u8> {
    let body = format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"search","arguments":{{"query":"{query}","limit":3}},"#,
            r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"#,
            r#""io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}}}}}}}}"#
        ),
        query = query
    );
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: search\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What an ordinary call searches for.
pub const QUERY: &str = "first program for the Analytical Engine";

/// Where the head of a message at the front of `bytes` ends, behind its empty line.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The `Content-Length` of a head.
pub fn content_length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head.split(|byte| *byte == b'\n').find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    let line = line.with_context(|| format!("no content-length in {:?}", String::from_utf8_lossy(head)))?;
    let value = std::str::from_utf8(&line[NAME.len()..])?;
    value.trim().parse().with_context(|| format!("content-length {value:?}"))
}

/// The length of the answer at the front of `bytes` once all of it is there. It must be a 200 with a body like [`ANSWER`]: a denial is
/// a 200 too, but of another length.
///
/// # Errors
/// When it is another answer.
pub fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = head_end(bytes) else { return Ok(None) };
    let length = content_length(&bytes[..head])?;
    if bytes.len() < head + length {
        return Ok(None);
    }
    ensure!(bytes.len() == head + length, "more than one answer to a request");
    if !bytes.starts_with(b"HTTP/1.1 200") || length != ANSWER.len() {
        bail!("an answer that is not the upstream's: {}", String::from_utf8_lossy(bytes));
    }
    Ok(Some(head + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_of_about_300_bytes() {
        let request = tool_call("127.0.0.1:1", "/mcp", QUERY);
        let body = request.len() - head_end(&request).unwrap();
        assert_eq!(content_length(&request).unwrap(), body);
        for length in [body, ANSWER.len()] {
            assert!((280..340).contains(&length), "{length}");
        }
    }

    #[test]
    fn only_whole_answers_of_the_upstream_count() {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-LENGTH: {}\r\n\r\n{ANSWER}", ANSWER.len());
        for cut in 0..answer.len() {
            assert_eq!(answer_length(&answer.as_bytes()[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(answer_length(answer.as_bytes()).unwrap(), Some(answer.len()));
        for wrong in [answer.replace("200 OK", "502 No"), answer.clone() + "x", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned()]
        {
            answer_length(wrong.as_bytes()).unwrap_err();
        }
    }
}
