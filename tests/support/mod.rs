//! Shared by all test binaries; none of them uses all of it.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod api;
pub mod authorization_server;
pub mod challenge;
pub mod der;
pub mod dpop;
pub mod logs;
pub mod modes;
pub mod nodes;
pub mod redis;
pub mod refresh;
pub mod shop;
pub mod store_suite;
