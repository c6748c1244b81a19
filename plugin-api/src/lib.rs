//! The contract between utterd and its plugins, and nothing else: the C ABI ([`abi`]), the two JSON documents of it ([`json`]) and the
//! comfortable way to write a plugin in Rust ([`sdk`]). It has never heard of any other room of the house.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[allow(
    missing_docs,
    reason = "the header documents every field; this is its mirror"
)]
pub mod abi;
pub mod json;
