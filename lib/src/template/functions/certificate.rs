//! Private keys and certificates.

use crate::template::call::{Call, Failure, HIDDEN};
use crate::template::functions::strings::decode_base64;
use crate::template::time::{SECOND, Time};
use crate::template::value::{Certificate, Text, Value};

mod der;
mod key;
mod x509;

use key::{Kind, PrivateKey};

type Result = std::result::Result<Value, Failure>;

pub fn gen_private_key(call: &mut Call<'_, '_>) -> Result {
    let kind = match call.text(0) {
        b"" | b"rsa" => Kind::Rsa(4096),
        b"dsa" => Kind::Dsa,
        b"ecdsa" => Kind::P256,
        b"ed25519" => Kind::Ed25519,
        other => {
            let text = [b"Unknown type ", other].concat();
            return call.give(text);
        }
    };
    let key = PrivateKey::generate(kind, call.machine)?;
    call.give(key.to_pem())
}

pub fn build_custom(call: &mut Call<'_, '_>) -> Result {
    let certificate = decode_base64(call.text(0)).map_err(|_| "unable to decode base64 certificate")?;
    let key = decode_base64(call.text(1)).map_err(|_| "unable to decode base64 private key")?;
    let block = der::from_pem(certificate.expose_secret()).ok_or("unable to decode certificate")?;
    x509::Parent::read(block.der.expose_secret())
        .map_err(|error| format!("error parsing certificate: decodedCert.Bytes: {error}"))?;
    PrivateKey::from_pem(key.expose_secret())
        .map_err(|error| format!("error parsing private key: {error}"))?;
    Ok(pair(Text::secret(certificate), Text::secret(key)))
}

pub fn gen_ca(call: &mut Call<'_, '_>) -> Result {
    let key = PrivateKey::generate(Kind::Rsa(2048), call.machine)?;
    authority(call, &key)
}

pub fn gen_ca_with_key(call: &mut Call<'_, '_>) -> Result {
    let key = given_key(call, 2)?;
    authority(call, &key)
}

fn authority(call: &mut Call<'_, '_>, key: &PrivateKey) -> Result {
    let request = x509::Request { is_authority: true, ..request(call, None, 1)? };
    signed(call, &request, key, None)
}

pub fn gen_self_signed(call: &mut Call<'_, '_>) -> Result {
    let key = PrivateKey::generate(Kind::Rsa(2048), call.machine)?;
    let request = request(call, Some(1), 3)?;
    signed(call, &request, &key, None)
}

pub fn gen_self_signed_with_key(call: &mut Call<'_, '_>) -> Result {
    let key = given_key(call, 4)?;
    let request = request(call, Some(1), 3)?;
    signed(call, &request, &key, None)
}

pub fn gen_signed(call: &mut Call<'_, '_>) -> Result {
    let key = PrivateKey::generate(Kind::Rsa(2048), call.machine)?;
    signed_by_authority(call, &key)
}

pub fn gen_signed_with_key(call: &mut Call<'_, '_>) -> Result {
    let key = given_key(call, 5)?;
    signed_by_authority(call, &key)
}

fn signed_by_authority(call: &mut Call<'_, '_>, key: &PrivateKey) -> Result {
    let Value::Certificate(authority) = call.arg(4) else {
        return Err("unable to decode certificate".into());
    };
    let block = der::from_pem(authority.certificate.bytes()).ok_or("unable to decode certificate")?;
    let parent = x509::Parent::read(block.der.expose_secret())
        .map_err(|error| format!("error parsing certificate: decodedSignerCert.Bytes: {error}"))?;
    let parent_key = PrivateKey::from_pem(authority.key.bytes())
        .map_err(|error| format!("error parsing private key: {error}"))?;
    let request = request(call, Some(1), 3)?;
    signed(call, &request, key, Some((&parent, &parent_key)))
}

fn given_key(call: &Call<'_, '_>, index: usize) -> std::result::Result<PrivateKey, Failure> {
    PrivateKey::from_pem(call.text(index)).map_err(|error| format!("parsing private key: {error}").into())
}

/// Returns what a certificate is to say. `lists` is where those of addresses and names are.
fn request(
    call: &mut Call<'_, '_>,
    lists: Option<usize>,
    days: usize,
) -> std::result::Result<x509::Request, Failure> {
    let mut addresses = Vec::new();
    let mut names = Vec::new();
    if let Some(index) = lists {
        for value in items(call, index) {
            let Value::Text(text) = &value else {
                return Err(format!("error parsing ip: {HIDDEN} is not a string").into());
            };
            let address = std::str::from_utf8(text.bytes()).ok().and_then(|text| text.parse().ok());
            addresses.push(address.ok_or_else(|| {
                let shown = if text.is_public() {
                    String::from_utf8_lossy(text.bytes()).into_owned()
                } else {
                    HIDDEN.to_owned()
                };
                format!("error parsing ip: {shown}")
            })?);
        }
        for value in items(call, index + 1) {
            let Value::Text(text) = &value else {
                let error = format!("error processing alternate dns name: {HIDDEN} is not a string");
                return Err(error.into());
            };
            if !text.bytes().is_ascii() {
                return Err(format!(
                    "error creating certificate: x509: {HIDDEN} cannot be encoded as an IA5String"
                )
                .into());
            }
            names.push(text.bytes().to_vec());
        }
    }
    let common_name = std::str::from_utf8(call.text(0));
    let common_name =
        common_name.map_err(|_| "error creating certificate: asn1: structure error: invalid UTF-8 string")?;
    let mut serial = [0; 16];
    let not_before: Time = call.machine.now.clone();
    // Go computes in nanoseconds, and lets them overflow.
    let validity = call.int(days).wrapping_mul(24 * 3600).wrapping_mul(SECOND);
    let not_after = not_before.plus(validity);
    let common_name = common_name.to_owned();
    call.machine.random_bytes(&mut serial);
    Ok(x509::Request { common_name, addresses, names, serial, not_before, not_after, is_authority: false })
}

fn items(call: &Call<'_, '_>, index: usize) -> Vec<Value> {
    if let Some(Value::List(list)) = call.args.get(index) { list.items.clone() } else { Vec::new() }
}

fn signed(
    call: &mut Call<'_, '_>,
    request: &x509::Request,
    key: &PrivateKey,
    parent: Option<(&x509::Parent, &PrivateKey)>,
) -> Result {
    call.machine.budget.steps(SIGNATURE_STEPS)?;
    let certificate = request
        .sign(key, parent, call.machine)
        .map_err(|error| format!("error creating certificate: {error}"))?;
    let certificate = der::to_pem("CERTIFICATE", &certificate);
    Ok(pair(Text::secret(certificate), Text::secret(key.to_pem())))
}

fn pair(certificate: Text, key: Text) -> Value {
    Value::Certificate(std::rc::Rc::new(Certificate { certificate, key }))
}

const SIGNATURE_STEPS: usize = 5_000;
