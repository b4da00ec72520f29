//! The Internet Imaging Protocol.
