//! Names of header fields keep their case where that is configured, and their order always.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use watchgate_proxy::ProxyConfig;
use watchgate_tests::{DEADLINE, ScriptedSocket};

use crate::rig::{CALL, RESULT, Rig, config, server};

const REQUEST_NAMES: [&str; 5] = ["Host", "Content-Type", "x-LOWER", "Mcp-Session-Id", "X-lower-Again"];
const ANSWER_NAMES: [&str; 3] = ["Content-Type", "MCP-Session-ID", "x-Odd"];

/// One message, as it came, up to this end; `None` when the connection is over.
fn message(stream: &mut TcpStream, end: &str) -> Option<String> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end.as_bytes()) {
        stream.read_exact(&mut byte).ok()?;
        read.extend(byte);
    }
    String::from_utf8(read).ok()
}

/// A server that keeps the heads that it gets, as they came.
fn recording(heads: &Arc<Mutex<Vec<String>>>) -> ScriptedSocket {
    let heads = heads.clone();
    ScriptedSocket::start(move |mut stream| {
        while let Some(request) = message(&mut stream, CALL) {
            heads.lock().unwrap().push(request);
            let fields = ANSWER_NAMES.map(|name| format!("{name}: {}\r\n", if name == "Content-Type" { "application/json" } else { "v" }));
            let answer = format!("HTTP/1.1 200 OK\r\n{}Content-Length: {}\r\n\r\n{RESULT}", fields.concat(), RESULT.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// The names in a head that are among these, whatever their case, as they are written.
fn names(head: &str, wanted: &[&str]) -> Vec<String> {
    let names = head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_owned()));
    names.filter(|name| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))).collect()
}

fn check_names(preserves_header_case: bool, as_written: impl Fn(&str) -> String) {
    let heads = Arc::default();
    let upstream = recording(&heads);
    let config = ProxyConfig { preserves_header_case, ..config(vec![server(&[upstream.address()])]) };
    let rig = Rig::under(crate::rig::Conditions { without_housekeeping: true, ..Default::default() }, config);
    let mut client = TcpStream::connect(rig.address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    // Twice, so that it is so on connections that are used again.
    for _ in 0..2 {
        let fields =
            REQUEST_NAMES.map(|name| format!("{name}: {}\r\n", if name == "Content-Type" { "application/json" } else { "localhost" }));
        let request = format!("POST /mcp HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{CALL}", fields.concat(), CALL.len());
        client.write_all(request.as_bytes()).unwrap();
        let answer = message(&mut client, RESULT).unwrap();
        assert_eq!(names(&answer, &ANSWER_NAMES), ANSWER_NAMES.map(&as_written));
    }
    for head in heads.lock().unwrap().iter() {
        assert_eq!(names(head, &REQUEST_NAMES), REQUEST_NAMES.map(&as_written));
    }
    assert_eq!(heads.lock().unwrap().len(), 2);
}

#[test]
fn names_pass_in_lower_case() {
    check_names(false, str::to_ascii_lowercase);
}

#[test]
fn names_pass_as_they_were_written_where_that_is_configured() {
    check_names(true, str::to_owned);
}
