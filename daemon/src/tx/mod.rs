//! x
#![allow(dead_code)]
mod resample;
