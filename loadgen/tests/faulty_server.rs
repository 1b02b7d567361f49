//! The stop of the example `faulty_server`: how late it says that it was decides which measurements count. Its tests run from here, because of
//! an example that has tests of its own cargo builds the tests alone, and other tests need the program.

#[path = "../examples/faulty_server/stall.rs"]
mod stall;
