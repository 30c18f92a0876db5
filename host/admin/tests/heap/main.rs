//! Heap profiles, in a process whose allocator can record as the gateway's does.
#![allow(clippy::unwrap_used)]

#[path = "../listener/scene.rs"]
#[expect(dead_code, reason = "the scene is that of the listener's tests, which use all of it")]
mod scene;

use std::io::Read;

use flate2::read::GzDecoder;
use scene::Scene;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// As the gateway has it, but for sampling more densely.
// SAFETY: jemalloc declares the symbol as a pointer to a C string, with which a slice begins; nobody else exports it.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] = b"prof:true,prof_active:false,lg_prof_sample:12\0";

/// What a profile of one second holds when the process allocates in it; off before and after.
async fn profile(scene: &Scene) -> Vec<u8> {
    let mut connection = scene.connect().await;
    let request = format!("GET /debug/pprof/heap?seconds=1 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", scene.address);
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut kept = Vec::new();
    let mut bytes = Vec::new();
    let heard = connection.read_to_end(&mut bytes);
    tokio::pin!(heard);
    while tokio::time::timeout(std::time::Duration::from_millis(1), &mut heard).await.is_err() {
        if kept.len() < 100 {
            kept.push(vec![1_u8; 100_000]);
        }
    }
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&bytes));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut profile = Vec::new();
    GzDecoder::new(&bytes[end + 4..]).read_to_end(&mut profile).unwrap();
    profile
}

/// The fields of profile.proto by which stacks are told.
#[derive(Clone, PartialEq, prost::Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// No stack ends in the allocator, whose innermost function would be that of all of them.
fn assert_callers_are_the_innermost(profile: &[u8]) {
    let profile = <Profile as prost::Message>::decode(profile).unwrap();
    let name = |location: &u64| {
        let location = profile.location.iter().find(|known| known.id == *location)?;
        let function = profile.function.iter().find(|known| known.id == location.line.last().unwrap().function_id)?;
        profile.string_table.get(usize::try_from(function.name).unwrap())
    };
    let innermost: Vec<&String> = profile.sample.iter().filter_map(|sample| name(sample.location_id.first()?)).collect();
    assert!(!innermost.is_empty(), "functions have names");
    let is_allocators = |name: &String| name.starts_with("_rjem_") || name.starts_with("prof_") || name.contains("jemallocator");
    assert!(!innermost.iter().any(|name| is_allocators(name)), "{innermost:?}");
}

#[tokio::test]
async fn what_is_allocated_meanwhile_is_in_the_profile() {
    let is_active = || jemalloc_pprof::PROF_CTL.as_ref().unwrap().try_lock().unwrap().activated();
    let scene = Scene::begin(None, &[]).await;
    assert!(!is_active());
    for _ in 0..2 {
        let profile = profile(&scene).await;
        assert!(profile.windows(11).any(|window| window == b"inuse_space"));
        assert!(profile.len() > 500, "there are stacks in it: {} bytes", profile.len());
        assert!(!is_active(), "recording is off again");
        assert_callers_are_the_innermost(&profile);
    }
}
