//! The catalog over real folders, with a loader that is no wasmtime and, where that matters, with the real sandbox: what is
//! live follows what lies in the folder.

#![allow(clippy::unwrap_used)]

mod fake_loader;
mod folder_changes;
mod loading;
mod real_sandbox;
mod world;
