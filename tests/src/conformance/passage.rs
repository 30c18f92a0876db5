//! A TCP port whose number is known before what it leads to exists.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Passes connections on, byte by byte, each with its own end in each direction.
///
/// A gateway must be told its public URL before it has bound the free port that would be part of it. For as long as the process lives.
pub struct Passage {
    listener: TcpListener,
    port: u16,
}

impl Passage {
    /// Takes a free port. Clients may connect, and wait until [`Passage::lead_to`].
    ///
    /// # Errors
    /// When there is none.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Passes every connection on to `target`.
    pub fn lead_to(self, target: SocketAddr) {
        thread::spawn(move || {
            for client in self.listener.incoming().flatten() {
                // A target that does not accept is a client's connection closed.
                if let Ok(server) = TcpStream::connect(target) {
                    let _ = join(client, server);
                }
            }
        });
    }
}

fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    // Without this, small writes would wait for one another here, and tests of delays would measure it.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass(client, server));
    thread::spawn(move || pass(server_too, client_too));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // A broken connection ends as a closed one: the other side needs to hear only that.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn each_direction_ends_by_itself() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let passage = Passage::new().unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", passage.port())).unwrap();
        client.write_all(b"asked before it led anywhere").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        passage.lead_to(target.local_addr().unwrap());
        let (mut server, _) = target.accept().unwrap();
        let mut asked = String::new();
        server.read_to_string(&mut asked).unwrap();
        assert_eq!(asked, "asked before it led anywhere");
        server.write_all(b"answered").unwrap();
        drop(server);
        let mut answered = String::new();
        client.read_to_string(&mut answered).unwrap();
        assert_eq!(answered, "answered");
    }
}
