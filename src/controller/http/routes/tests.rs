//! Requests to the API, without sockets.
