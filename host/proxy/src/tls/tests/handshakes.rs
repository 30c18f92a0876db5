//! Who comes to terms with whom, on which protocol, and what the streams then carry.

use std::io::IoSlice;
use std::pin::Pin;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn alpn_chooses_the_best_that_both_speak() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let (served, trusted) = (files.server(&authority.issue(&["localhost"])), files.trusting(&authority));
    for (server, client) in [(true, true), (true, false), (false, true), (false, false)] {
        let (server_state, client_state) =
            (ServerTlsState::load(&served, server).unwrap(), UpstreamTlsState::load(&trusted, client).unwrap());
        let open = open(&server_state, &client_state, "localhost").await.unwrap();
        assert_eq!((open.server.is_http2(), open.client.is_http2()), (server && client, server && client), "{server} {client}");
        assert!(open.server.is_tls() && open.client.is_tls());
    }
}

/// Old clients, and those that know no ALPN, speak HTTP/1.1.
#[tokio::test]
async fn a_client_of_tls_1_2_without_alpn_is_served() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["localhost"])));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(super::super::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (accepted, opened) = tcp_pair().await;
    let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), opened);
    let (served, asked) = tokio::join!(server.accept(accepted), connecting);
    let mut open = Open { server: served.unwrap(), client: MaybeTls::Tls(Box::new(asked.unwrap())) };
    assert!(!open.server.is_http2());
    open.talk().await.unwrap();
}

#[tokio::test]
async fn only_the_right_authority_and_name_are_trusted() {
    let (files, authority, other) = (Files::new(), Authority::new("one"), Authority::new("other"));
    let server = load(&files.server(&authority.issue(&["mcp.test", "*.wild.test", "127.0.0.1", "::1"])));
    let trusted = files.trusting(&authority);
    let check = async |settings: &UpstreamTls, host: &str, expected: Result<(), &str>| {
        let result = open(&server, &load_client(settings), host).await.map(|_| ());
        match (&result, expected) {
            (Ok(()), Ok(())) => {}
            (Err(said), Err(part)) if said.contains(part) => {}
            _ => panic!("{host} with {settings:?}: {result:?}"),
        }
    };
    for host in ["mcp.test", "MCP.test", "mcp.test.", "a.wild.test", "127.0.0.1", "::1"] {
        check(&trusted, host, Ok(())).await;
    }
    for host in ["other.test", "wild.test", "a.b.wild.test", "127.0.0.2", "::2"] {
        check(&trusted, host, Err("not valid for name")).await;
    }
    check(&UpstreamTls::default(), "mcp.test", Err("UnknownIssuer")).await;
    check(&UpstreamTls { ca: Some(files.write("other.pem", other.pem())), ..trusted.clone() }, "mcp.test", Err("UnknownIssuer")).await;
    let both = files.write("both.pem", other.pem() + &authority.pem());
    check(&UpstreamTls { ca: Some(both), ..trusted.clone() }, "mcp.test", Ok(())).await;
    // The name set takes the place of the host, for better or worse.
    let named = |name: &str| UpstreamTls { server_name: Some(name.to_owned()), ..trusted.clone() };
    check(&named("mcp.test"), "10.1.2.3", Ok(())).await;
    check(&named("mcp.test"), "not a host", Ok(())).await;
    check(&named("127.0.0.1"), "wherever", Ok(())).await;
    check(&named("wrong.test"), "mcp.test", Err("not valid for name")).await;
    check(&trusted, "not a host", Err("`not a host` is neither a host name nor an address")).await;
}

#[tokio::test]
async fn the_name_is_asked_for() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["mcp.test", "10.1.2.3"])));
    let asked = async |host: &str, server_name: Option<&str>| {
        let settings = UpstreamTls { server_name: server_name.map(str::to_owned), ..files.trusting(&authority) };
        let open = open(&server, &load_client(&settings), host).await.unwrap();
        let MaybeTls::Tls(session) = &open.server else { panic!("cleartext") };
        session.get_ref().1.server_name().map(str::to_owned)
    };
    assert_eq!(asked("mcp.test", None).await.as_deref(), Some("mcp.test"));
    assert_eq!(asked("10.9.9.9", Some("mcp.test")).await.as_deref(), Some("mcp.test"));
    assert_eq!(asked("10.1.2.3", None).await, None, "addresses are not asked for, RFC 6066 section 3");
}

#[tokio::test]
async fn with_client_authorities_only_their_clients_are_let_in() {
    let (files, authority, other) = (Files::new(), Authority::new("one"), Authority::new("other"));
    let client_authority = Authority::new("clients");
    let settings =
        ServerTls { client_ca: Some(files.write("clients.pem", client_authority.pem())), ..files.server(&authority.issue(&["localhost"])) };
    let server = load(&settings);
    let client =
        |pair: Option<Pair>| load_client(&UpstreamTls { client: pair.map(|pair| files.client(&pair)), ..files.trusting(&authority) });
    let good = client_authority.issue(&["client"]);
    let expected = der(&good.certificate);
    let known = open(&server, &client(Some(good)), "localhost").await.unwrap();
    assert_eq!(known.shown_by_client(), Some(expected));
    for (stranger, why) in [
        (client(None), "sent no certificates"),
        (client(Some(other.issue(&["client"]))), "invalid peer certificate: UnknownIssuer"),
        (client(Some(client_authority.issue_until(&["client"], 2020))), "certificate expired"),
    ] {
        let (accepted, opened) = tcp_pair().await;
        let name = stranger.server_name("localhost").unwrap();
        let (served, _) = tokio::join!(server.accept(accepted), stranger.connect(name, opened));
        let said = served.unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
        assert!(open(&server, &stranger, "localhost").await.is_err());
    }
    // A server that asks for nothing is told nothing.
    let server = load(&ServerTls { client_ca: None, ..settings });
    let known = open(&server, &client(Some(client_authority.issue(&["client"]))), "localhost").await.unwrap();
    assert_eq!(known.shown_by_client(), None);
}

/// Whatever comes instead of a handshake ends the connection and nothing else.
#[tokio::test]
async fn noise_ends_the_handshake() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["localhost"])));
    let hello_without_end = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for noise in [&b""[..], b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", &[0; 70_000], &[0xff; 40], &hello_without_end] {
        let (accepted, mut opened) = tcp_pair().await;
        let client = async {
            // The server may close before it has read everything.
            let _ = opened.write_all(noise).await;
            let _ = opened.shutdown().await;
            let _ = opened.read_to_end(&mut Vec::new()).await;
        };
        let (served, ()) = tokio::join!(server.accept(accepted), client);
        assert!(served.is_err(), "{noise:?}");
    }
    open(&server, &load_client(&files.trusting(&authority)), "localhost").await.unwrap();
}

#[tokio::test]
async fn both_kinds_of_stream_carry_much_in_pieces_and_end() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["localhost"])));
    let client = load_client(&files.trusting(&authority));
    let tls = open(&server, &client, "localhost").await.unwrap();
    let (accepted, opened) = tcp_pair().await;
    let tcp = Open { server: MaybeTls::Tcp(accepted), client: MaybeTls::Tcp(opened) };
    for Open { mut server, mut client } in [tls, tcp] {
        assert!(server.is_write_vectored() && client.is_write_vectored());
        let (head, body): (Vec<u8>, Vec<u8>) = (vec![b'h'; 300], (0..3_000_000_u32).map(|number| (number % 251) as u8).collect());
        let write = async {
            // More than one slice is taken at once.
            let slices = [IoSlice::new(&head), IoSlice::new(b"|"), IoSlice::new(b"more")];
            let written = std::future::poll_fn(|context| Pin::new(&mut server).poll_write_vectored(context, &slices)).await.unwrap();
            assert_eq!(written, 305);
            server.write_all(&body).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (ended, ()) = tokio::join!(client.read_to_end(&mut read), write);
        ended.expect("the end is not taken for a cut");
        assert_eq!(read.len(), 305 + body.len());
        assert!(read.ends_with(&body));
    }
}

/// A cut connection is not a clean end, so that a body whose length is not known is not taken for complete.
#[tokio::test]
async fn a_cut_is_told_from_an_end() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["localhost"])));
    let Open { server, mut client } = open(&server, &load_client(&files.trusting(&authority)), "localhost").await.unwrap();
    drop(server);
    let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// The size that every cleartext connection pays.
#[test]
fn a_cleartext_stream_is_hardly_larger_than_its_socket() {
    assert!(size_of::<ClientStream>() <= size_of::<TcpStream>() + size_of::<usize>());
    assert_eq!(size_of::<ClientStream>(), size_of::<UpstreamStream>());
}
