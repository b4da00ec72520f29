//! Black-box tests of the built host.
