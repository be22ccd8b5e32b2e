//! What the controller serves over HTTP.
