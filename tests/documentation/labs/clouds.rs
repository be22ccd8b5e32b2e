//! A lab with servers of keys on this machine: OpenBao, and what answers as AWS does.

use std::ffi::OsString;
use std::fs;

use libtest_mimic::Failed;
use serde_json::json;

use super::{Kind, Lab};
use crate::documentation::place::Place;
use crate::live::moto::Moto;
use crate::live::vault;
use crate::peer::Peer;

/// The kind of a page that says `clouds`.
pub const KIND: Kind = Kind {
    name: "clouds",
    is_live: true,
    is_possible: || [Peer::Moto, Peer::Openbao, Peer::Python].iter().all(|peer| peer.path().is_some()),
    start: |place| Ok(Box::new(Clouds::start(place)?)),
};

struct Clouds {
    variables: Vec<(&'static str, OsString)>,
}

impl Clouds {
    fn start(place: &Place) -> Result<Self, Failed> {
        let moto = Moto::shared(&Peer::Moto.path().ok_or("there is no moto")?)?;
        let key = moto.call("eu-west-1", "kms", "create_key", json!({}))?;
        let arn = key["KeyMetadata"]["Arn"].as_str().ok_or("a key has an ARN")?;
        let vault = vault::shared()?;
        place.provide("vault", &Peer::Openbao.path().ok_or("there is no OpenBao")?)?;
        let folder = place.home().join(".aws");
        fs::create_dir(&folder)?;
        let profile = "[prod]\naws_access_key_id = PROD\naws_secret_access_key = secret\n";
        fs::write(folder.join("credentials"), profile)?;
        let variables = vec![
            ("ARN", arn.into()),
            ("AWS_ENDPOINT_URL", moto.url().into()),
            ("VAULT_ADDR", vault.address.clone().into()),
            ("VAULT_CACERT", vault.authority.clone().into()),
            ("VAULT_TOKEN", "root".into()),
        ];
        Ok(Self { variables })
    }
}

impl Lab for Clouds {
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        self.variables.clone()
    }
}
