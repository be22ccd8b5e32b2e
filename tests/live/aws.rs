//! Keys of AWS KMS, with real sops on the other side and moto in place of AWS.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::moto::Moto;
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    vec![Peer::Moto.test("a_bucket_keeps_what_is_put_in_it", |modules| a_bucket_keeps(&modules))]
}

fn a_bucket_keeps(modules: &Path) -> Result<(), Failed> {
    let moto = Moto::shared(modules)?;
    let call = |operation, parameters| moto.call("us-east-1", "s3", operation, parameters);
    call("create_bucket", json!({"Bucket": "keeps"}))?;
    call("put_object", json!({"Bucket": "keeps", "Key": "a/b", "Body": "YQ=="}))?;
    let got = call("get_object", json!({"Bucket": "keeps", "Key": "a/b"}))?;
    (got["Body"] == "YQ==").then_some(()).ok_or_else(|| got.to_string().into())
}
