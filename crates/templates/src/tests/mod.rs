//! The cases of `cases/`, and deployments against a server that dies.

mod cases;
mod dying;
mod server;
