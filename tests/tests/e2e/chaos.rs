//! Bad days: servers and clients that misbehave in every way we know, one by one and all at once. Each exchange ends with its right outcome, nothing
//! leaks, nothing panics, and the server next door notices nothing.

mod bed;
mod clients;
mod flapping;
mod frames;
mod heads;
mod http2;
mod servers;
mod storm;
mod wild;
