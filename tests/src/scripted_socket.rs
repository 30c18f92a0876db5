//! A test upstream below HTTP: what happens on a connection is a closure, and the whole of it can go away and come back.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::wait::DEADLINE;

type Serve = dyn Fn(TcpStream) + Send + Sync;

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    next: AtomicU64,
    /// Handles on what is open, for going away.
    open: Mutex<HashMap<u64, TcpStream>>,
}

/// An upstream on a port of its own, one thread a connection.
///
/// ```
/// use std::io::Write;
/// use watchgate_tests::{Connection, ScriptedSocket};
///
/// let mut upstream = ScriptedSocket::start(|mut stream| {
///     let _ = stream.write_all(b"220 mail.example\r\n");
/// });
/// assert!(Connection::open(upstream.address()).is_ok());
/// upstream.go_away();
/// assert!(Connection::open(upstream.address()).is_err());
/// upstream.come_back();
/// assert!(Connection::open(upstream.address()).is_ok());
/// ```
pub struct ScriptedSocket {
    address: SocketAddr,
    serve: Arc<Serve>,
    shared: Arc<Shared>,
    accepting: Option<Accepting>,
}

struct Accepting {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl ScriptedSocket {
    /// Starts an upstream that hands each connection to `serve`, and closes it afterwards.
    ///
    /// # Panics
    /// When the loopback interface has no port left.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((own_address(), 0)).expect("all of 127.0.0.0/8 is loopback, and has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut upstream = Self { address, serve: Arc::new(serve), shared: Arc::default(), accepting: None };
        upstream.accept_from(listener);
        upstream
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its origin, for `--upstream`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.open_streams().len()
    }

    /// Refuses connections from now on, and ends those that are open.
    pub fn go_away(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.ends.store(true, Ordering::SeqCst);
            // The accept loop looks at the flag only when somebody connects.
            let _ = TcpStream::connect_timeout(&self.address, DEADLINE);
            let _ = accepting.thread.join();
        }
        for stream in self.open_streams().values() {
            // Fails when the other end was faster.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Listens again at the same address.
    ///
    /// # Panics
    /// When another program took it.
    pub fn come_back(&mut self) {
        if self.accepting.is_none() {
            let listener = TcpListener::bind(self.address).expect("nobody else binds this address");
            self.accept_from(listener);
        }
    }

    fn accept_from(&mut self, listener: TcpListener) {
        let ends = Arc::new(AtomicBool::new(false));
        let (serve, shared, ending) = (Arc::clone(&self.serve), Arc::clone(&self.shared), Arc::clone(&ends));
        let thread = std::thread::spawn(move || accept(&listener, &ending, &shared, &serve));
        self.accepting = Some(Accepting { ends, thread });
    }

    fn open_streams(&self) -> std::sync::MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ScriptedSocket {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// A loopback address that no other socket has, also of tests beside this process: so nothing takes the port while its owner is away.
fn own_address() -> Ipv4Addr {
    static USED: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(257).wrapping_add(USED.fetch_add(1, Ordering::SeqCst));
    let [_, second, third, fourth] = number.to_be_bytes();
    // 127.64.0.0 to 127.127.255.255: tests that bind loopback addresses by themselves stay below.
    Ipv4Addr::new(127, 64 | (second & 63), third, fourth)
}

fn accept(listener: &TcpListener, ends: &AtomicBool, shared: &Arc<Shared>, serve: &Arc<Serve>) {
    for stream in listener.incoming() {
        if ends.load(Ordering::SeqCst) {
            return;
        }
        let Ok((handle, stream)) = stream.and_then(|stream| Ok((stream.try_clone()?, stream))) else { continue };
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        shared.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, handle);
        let (shared, serve) = (Arc::clone(shared), Arc::clone(serve));
        // Not joined: it ends when its script does, and every wait of a script has a deadline.
        std::thread::spawn(move || {
            let _open = Open { shared, number };
            serve(stream);
        });
    }
}

/// Stands for an open connection, however its thread ends.
struct Open {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
