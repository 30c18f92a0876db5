//! Files that change while connections are open.

use super::super::reloaded::Refreshed;
use super::*;

/// Looks at the files as one does long after they were written: what has not changed since the look before is not read.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

fn assert_replaced(refreshed: Refreshed) {
    assert!(matches!(refreshed, Refreshed::Replaced), "{refreshed:?}");
}

fn assert_unchanged(refreshed: Refreshed) {
    assert!(matches!(refreshed, Refreshed::Unchanged), "{refreshed:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_old_connections_go_on() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let (first, second) = (authority.issue_until(&["localhost"], 2040), authority.issue_until(&["localhost"], 2041));
    let server = load(&files.server(&first));
    let trusted = files.trusting(&authority);
    let mut old = open(&server, &load_client(&trusted), "localhost").await.unwrap();
    assert_eq!((old.shown(), server.not_after()), (der(&first.certificate), year(2040)));
    assert_unchanged(server.refresh());

    files.server(&second);
    assert_replaced(server.refresh());
    assert_unchanged(server.refresh());
    let new = open(&server, &load_client(&trusted), "localhost").await.unwrap();
    assert_eq!((new.shown(), server.not_after()), (der(&second.certificate), year(2041)));
    old.talk().await.unwrap();
}

/// cert-manager's secrets are mounted so: the files are links through a link that is swapped.
#[tokio::test]
async fn a_swapped_link_is_noticed() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let pairs = [authority.issue(&["localhost"]), authority.issue(&["localhost"])];
    for (version, pair) in ["..1", "..2"].into_iter().zip(&pairs) {
        fs::create_dir(files.path(version)).unwrap();
        files.write_pair(&format!("{version}/tls"), pair);
    }
    relink(Path::new("..1"), &files.path("..data"));
    for name in ["tls.pem", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), files.path(name)).unwrap();
    }
    let server = load(&ServerTls { certificate: files.path("tls.pem"), key: files.path("tls.key"), client_ca: None });
    assert_unchanged(server.refresh_at(later()));
    assert_unchanged(server.refresh_at(later()));
    relink(Path::new("..2"), &files.path("..data"));
    fs::remove_dir_all(files.path("..1")).unwrap();
    assert_replaced(server.refresh_at(later()));
    let open = open(&server, &load_client(&files.trusting(&authority)), "localhost").await.unwrap();
    assert_eq!(open.shown(), der(&pairs[1].certificate));
}

/// One bad state of the files: it is said once, what was in use stays, and good files are taken again.
async fn check_bad(spoil: impl FnOnce(&Files, &Authority), expected: &[&str]) {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let first = authority.issue(&["localhost"]);
    let server = load(&files.server(&first));
    let client = files.trusting(&authority);
    spoil(&files, &authority);
    let Refreshed::Failed(error) = server.refresh() else { panic!("not noticed: {expected:?}") };
    let said = error.to_string();
    for part in expected {
        let part = part.replace("DIR", &files.0.path().display().to_string());
        assert!(said.contains(&part), "{said} lacks {part}");
    }
    assert_unchanged(server.refresh());
    assert_unchanged(server.refresh_at(later()));
    assert_eq!(open(&server, &load_client(&client), "localhost").await.unwrap().shown(), der(&first.certificate));

    let _ = fs::remove_dir(files.path("server.key"));
    let second = authority.issue(&["localhost"]);
    files.server(&second);
    assert_replaced(server.refresh_at(later()));
    assert_eq!(open(&server, &load_client(&client), "localhost").await.unwrap().shown(), der(&second.certificate));
}

#[tokio::test]
async fn a_bad_pair_keeps_the_old_one() {
    check_bad(
        |files, authority| _ = files.write("server.pem", authority.issue(&["localhost"]).certificate),
        &["DIR/server.key", "does not belong to the certificate in DIR/server.pem"],
    )
    .await;
    check_bad(|files, _| _ = files.write("server.pem", "half a "), &["DIR/server.pem: no certificate"]).await;
    check_bad(|files, _| _ = files.write("server.key", ""), &["DIR/server.key: no private key"]).await;
    check_bad(|files, _| _ = files.write("server.key", "-----BEGIN PRIVATE KEY-----\nAAAA"), &["DIR/server.key: broken PEM"]).await;
    check_bad(|files, _| fs::remove_file(files.path("server.pem")).unwrap(), &["DIR/server.pem: no such file"]).await;
    check_bad(
        |files, _| {
            fs::remove_file(files.path("server.key")).unwrap();
            fs::create_dir(files.path("server.key")).unwrap();
        },
        &["DIR/server.key: not a regular file"],
    )
    .await;
}

/// Writing the old contents again ends the complaint, and says so.
#[test]
fn going_back_is_said() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let first = authority.issue(&["localhost"]);
    let server = load(&files.server(&first));
    files.write("server.pem", authority.issue(&["localhost"]).certificate);
    assert!(matches!(server.refresh(), Refreshed::Failed(_)));
    files.server(&first);
    assert_replaced(server.refresh());
    assert_unchanged(server.refresh());
}

/// Two bad states after each other are two things to say.
#[test]
fn another_reason_is_said_again() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["localhost"])));
    files.write("server.pem", "");
    assert!(matches!(server.refresh(), Refreshed::Failed(_)));
    fs::remove_file(files.path("server.pem")).unwrap();
    let Refreshed::Failed(error) = server.refresh() else { panic!("not said") };
    assert!(error.to_string().contains("no such file"));
}

#[tokio::test]
async fn sessions_are_resumed_across_a_renewal() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = load(&files.server(&authority.issue(&["localhost"])));
    let client = load_client(&files.trusting(&authority));
    assert!(!open(&server, &client, "localhost").await.unwrap().is_resumed());
    assert!(open(&server, &client, "localhost").await.unwrap().is_resumed());
    files.server(&authority.issue(&["localhost"]));
    assert_replaced(server.refresh());
    assert!(open(&server, &client, "localhost").await.unwrap().is_resumed());
    // The same files loaded anew, as when a listener is set up again: its tickets are its own, and clients fall back to a full handshake.
    let server = load(&ServerTls { certificate: files.path("server.pem"), key: files.path("server.key"), client_ca: None });
    assert!(!open(&server, &client, "localhost").await.unwrap().is_resumed());
}

/// A session that an authority vouched for cannot be resumed when that authority is no longer trusted.
#[tokio::test]
async fn sessions_end_with_their_authority() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let (former, latter) = (Authority::new("former"), Authority::new("latter"));
    let server =
        load(&ServerTls { client_ca: Some(files.write("clients.pem", former.pem())), ..files.server(&authority.issue(&["localhost"])) });
    let client = load_client(&UpstreamTls { client: Some(files.client(&former.issue(&["client"]))), ..files.trusting(&authority) });
    let mut old = open(&server, &client, "localhost").await.unwrap();
    let resumed = open(&server, &client, "localhost").await.unwrap();
    assert!(resumed.is_resumed() && resumed.shown_by_client().is_some());

    files.write("clients.pem", latter.pem());
    assert_replaced(server.refresh());
    let refused = open(&server, &client, "localhost").await;
    assert!(refused.is_err(), "{refused:?}");
    old.talk().await.unwrap();
    files.client(&latter.issue(&["client"]));
    assert_replaced(client.refresh());
    assert!(!open(&server, &client, "localhost").await.unwrap().is_resumed());
}

#[tokio::test]
async fn what_the_gateway_shows_and_trusts_upstream_is_renewed() {
    let (files, authority, next) = (Files::new(), Authority::new("one"), Authority::new("next"));
    let clients = Authority::new("clients");
    let server =
        load(&ServerTls { client_ca: Some(files.write("clients.pem", clients.pem())), ..files.server(&authority.issue(&["localhost"])) });
    let (first, second) = (clients.issue_until(&["client"], 2040), clients.issue_until(&["client"], 2041));
    let settings = UpstreamTls { client: Some(files.client(&first)), ..files.trusting(&authority) };
    let client = load_client(&settings);
    assert_eq!(client.not_after(), Some(year(2040)));
    let mut old = open(&server, &client, "localhost").await.unwrap();
    assert_unchanged(client.refresh());

    files.client(&second);
    assert_replaced(client.refresh());
    assert_eq!(client.not_after(), Some(year(2041)));
    let new = open(&server, &client, "localhost").await.unwrap();
    assert_eq!(new.shown_by_client(), Some(der(&second.certificate)), "the session of the former certificate is not resumed");

    files.write("client.key", &first.key);
    let Refreshed::Failed(error) = client.refresh() else { panic!("not noticed") };
    assert!(error.to_string().contains("does not belong to"), "{error}");
    open(&server, &client, "localhost").await.unwrap();
    files.client(&second);

    files.trusting(&next);
    assert_replaced(client.refresh());
    let refused = open(&server, &client, "localhost").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    files.server(&next.issue(&["localhost"]));
    assert_replaced(server.refresh());
    open(&server, &client, "localhost").await.unwrap();
    old.talk().await.unwrap();
}

/// Refreshing from several threads while handshakes go on: every handshake gets one whole pair.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_go_on_during_renewals() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let pairs: Vec<Pair> = (0..8).map(|_| authority.issue(&["localhost"])).collect();
    let server = load(&files.server(&pairs[0]));
    let trusted = files.trusting(&authority);
    let renewals = {
        let server = server.clone();
        tokio::task::spawn_blocking(move || {
            let mut replaced = 0;
            for pair in pairs.iter().cycle().skip(1).take(40) {
                files.server(pair);
                replaced += usize::from(matches!(server.refresh(), Refreshed::Replaced));
            }
            (files, replaced)
        })
    };
    let mut handshakes = 0;
    let client = load_client(&trusted);
    while !renewals.is_finished() || handshakes < 20 {
        open(&server, &client, "localhost").await.unwrap();
        handshakes += 1;
    }
    assert_eq!(renewals.await.unwrap().1, 40);
}
