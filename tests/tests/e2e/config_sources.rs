//! Where a change of the configuration comes from: the file however it is replaced, the files it names, SIGHUP.

use std::fs;
use std::os::unix::fs::symlink;

use watchgate_tests::http1::MCP_POST;
use watchgate_tests::{Gateway, GatewayOptions, Scripted, wait_until};

use crate::config_reload::{rewrite, servers, wait_for_reload};
use crate::messages::{answer, tool_call};

#[test]
fn a_file_that_is_replaced_or_reached_through_links_is_followed() {
    let upstream = Scripted::start(answer);
    let text = |name: &str| servers(&[(name, &upstream)]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // As Kubernetes mounts a map: watchgate.toml -> ..data/watchgate.toml, ..data -> ..1.
    for (version, name) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("watchgate.toml"), text(name)).unwrap();
    }
    symlink("..1", path("..data")).unwrap();
    symlink("..data/watchgate.toml", path("watchgate.toml")).unwrap();
    let gateway = Gateway::start(&["--config", path("watchgate.toml").to_str().unwrap()], GatewayOptions::default());
    let routes = |target: &str| (gateway.post(target, &tool_call(1, "t")).status() == 200).then_some(());
    routes("/one/mcp").unwrap();
    symlink("..2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    wait_until("the link is turned", || routes("/two/mcp"));
    // As editors that write beside and rename.
    fs::write(path("new"), text("three")).unwrap();
    fs::rename(path("new"), path("watchgate.toml")).unwrap();
    wait_until("the file is replaced", || routes("/three/mcp"));
    // Gone and there again.
    fs::remove_file(path("watchgate.toml")).unwrap();
    wait_for_reload(&gateway, "refused", 1.0);
    routes("/three/mcp").expect("a file that is gone changes nothing");
    fs::write(path("watchgate.toml"), text("four")).unwrap();
    wait_until("the file is there again", || routes("/four/mcp"));
}

#[test]
fn a_file_with_keys_counts_as_part_of_it() {
    let upstream = Scripted::start(answer);
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("keys");
    let (old, new) = ("alice-0123456789abcdef", "alice-fedcba9876543210");
    fs::write(&file, format!("alice:{old}\n")).unwrap();
    let config = format!("[auth]\nkeys_file = \"{}\"\n{}", file.display(), servers(&[("a", &upstream)]));
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let status = |key: &str| {
        let authorization = format!("Bearer {key}");
        let headers = [MCP_POST.as_slice(), &[("Authorization", authorization.as_str())]].concat();
        gateway.call("POST", "/a/mcp", &headers, tool_call(1, "t").to_string().as_bytes()).status()
    };
    assert_eq!((status(old), status(new)), (200, 401));
    fs::write(&file, format!("alice:{new}\n")).unwrap();
    wait_until("the new key counts", || (status(new) == 200).then_some(()));
    assert_eq!(status(old), 401);
    fs::write(&file, "alice\n").unwrap();
    wait_for_reload(&gateway, "refused", 1.0);
    assert_eq!(status(new), 200);
    let texts = [gateway.stderr(), gateway.admin_get("/api/config").text(), gateway.metrics().text().to_owned()];
    assert!(texts.iter().all(|text| !text.contains(new) && !text.contains(old)), "a key is shown");
    gateway.wait_for_log("keys:1: a line must be NAME:KEY");
}

#[test]
fn sighup_has_it_read_again() {
    let upstream = Scripted::start(answer);
    let mut gateway = Gateway::start(&[], GatewayOptions::config(&servers(&[("a", &upstream)])));
    for count in [1.0, 2.0] {
        gateway.hang_up();
        wait_for_reload(&gateway, "applied", count);
    }
    rewrite(&gateway, "nonsense");
    gateway.hang_up();
    wait_for_reload(&gateway, "refused", 1.0);
    // Without a file there is nothing to read, and no reason to end.
    let mut gateway = Gateway::before(&upstream.url());
    gateway.hang_up();
    wait_for_reload(&gateway, "applied", 1.0);
}
