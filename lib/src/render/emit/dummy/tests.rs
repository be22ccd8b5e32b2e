use super::*;

#[test]
fn fakes_are_of_the_same_type_and_length() {
    let word = "selkiex0123456789abcdef";
    assert_eq!(fake(ValueKind::Text, word, 20).len(), 20);
    assert!(fake(ValueKind::Text, word, 20).bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(fake(ValueKind::Int, word, 4).len(), 4);
    assert!(fake(ValueKind::Int, word, 100).parse::<i64>().is_ok());
    assert!(fake(ValueKind::Float, word, 3).parse::<f64>().is_ok());
    assert!(fake(ValueKind::Bool, word, 4).parse::<bool>().is_ok());
    assert_eq!(fake(ValueKind::Text, word, 70), fake(ValueKind::Text, word, 70));
    assert_ne!(fake(ValueKind::Text, word, 70), fake(ValueKind::Text, "another", 70));
}

#[test]
fn keys_tell_what_an_entry_has_to_be() {
    for (key, expected) in [
        ("tls.crt", Some(Shape::Certificate)),
        ("tls.key", Some(Shape::Key)),
        ("key", None),
        (".dockerconfigjson", Some(Shape::DockerConfigJson)),
        (".dockercfg", Some(Shape::DockerConfig)),
        ("config.json", Some(Shape::Json)),
    ] {
        assert_eq!(Shape::of_key(key), expected, "{key}");
    }
    assert_eq!(entry_key("data.tls.key"), Some("tls.key"));
    assert_eq!(entry_key("spec.values.tls.key"), None);
}

#[test]
fn certificates_and_keys_fit() {
    use der::{Decode, Encode};
    use ed25519_dalek::{Signature, Verifier};
    use x509_cert::Certificate;

    let key = Shape::Key.dummy("Secret shop/tls", "x");
    let key = pem::parse(key).expect("PEM");
    let (start, seed) = key.contents().split_at(16);
    assert_eq!((start[1] as usize, seed.len()), (key.contents().len() - 2, 32));
    let key = ed25519_dalek::SigningKey::from_bytes(seed.try_into().expect("32 bytes"));
    let certificate = Shape::Certificate.dummy("Secret shop/tls", "x");
    let certificate = pem::parse(certificate).expect("PEM");
    let certificate = Certificate::from_der(certificate.contents()).expect("a certificate");
    let public = &certificate.tbs_certificate.subject_public_key_info.subject_public_key;
    assert_eq!(public.as_bytes().expect("bytes"), key.verifying_key().as_bytes());
    let signature = Signature::from_slice(certificate.signature.as_bytes().expect("bytes")).expect("one");
    let message = certificate.tbs_certificate.to_der().expect("DER");
    assert!(key.verifying_key().verify(&message, &signature).is_ok());
}
