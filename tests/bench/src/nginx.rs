//! nginx as a plain proxy to the upstream: kept-alive connections on both sides, with and without an access log.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;
use watchgate_tests::process::Process;
use watchgate_tests::wait::{DEADLINE, wait_for};

use crate::cpu;

/// A running nginx; dropping it kills it.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    _folder: TempDir,
}

/// Whether requests are logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// To a file, in nginx's usual form.
    File,
    /// Not at all.
    Off,
}

impl Nginx {
    /// Starts it in front of `upstream`.
    pub fn start(program: &Path, upstream: SocketAddr, log: AccessLog) -> Result<Self> {
        let folder = TempDir::new()?;
        let address = free_address()?;
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), address, upstream, log))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        let process = Process::start("nginx", &mut command, folder.path())?;
        let accepts = wait_for(DEADLINE, || TcpStream::connect(address).ok());
        accepts.with_context(|| format!("nginx does not listen\n{}", process.output()))?;
        Ok(Self { address, process, _folder: folder })
    }

    /// The master and its workers.
    pub fn processes(&self) -> Vec<u32> {
        let master = self.process.id();
        [vec![master], cpu::children_of(master)].concat()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A killed master leaves its workers behind; asked to, it ends them first. Fails when it has ended already.
        let _ = self.process.ask_to_end();
        let _ = self.process.wait(DEADLINE);
    }
}

/// nginx cannot choose a port itself. On a loopback address of its own, nobody takes the port in between.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.77.0.2", 0))?.local_addr()?)
}

fn configuration(folder: &Path, address: SocketAddr, upstream: SocketAddr, log: AccessLog) -> String {
    let folder = folder.display();
    // SAFETY: getuid takes nothing and cannot fail.
    let is_root = unsafe { libc::getuid() } == 0;
    // Workers would otherwise become another user, who may not write into the folder.
    let user = if is_root { "user root;" } else { "" };
    let log = match log {
        AccessLog::File => format!("access_log {folder}/access.log combined;"),
        AccessLog::Off => "access_log off;".to_owned(),
    };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {folder}/{what};")).join(" ");
    format!(
        "daemon off; {user} pid {folder}/pid; worker_processes auto; worker_rlimit_nofile 4096;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           {log} {temporary}\n\
           keepalive_requests 1000000000;\n\
           upstream behind {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
           server {{\n\
             listen {address};\n\
             location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
           }}\n\
         }}\n"
    )
}
