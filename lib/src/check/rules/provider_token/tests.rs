use super::find;
use crate::check::test_kit::found;

/// Letters that no provider gave to anybody.
const LETTERS: &str = "Zq7Rw2Tn9Xk4Lp8Vb3Hs6Jd5Gf1McYtQeUiOaNzKxWvBrEuPjDhSlFgCmAoI7Z2q9R4w6T8n3X5k1L0p";

fn letters(count: usize) -> &'static str {
    &LETTERS[..count]
}

fn names(text: &str) -> Vec<&'static str> {
    find(text.as_bytes()).0.into_iter().map(|(_, name)| name).collect()
}

#[test]
fn tokens_are_found_by_their_form() {
    let claims = crate::sealed::encode_base64(br#"{"iss":"kubernetes/serviceaccount","sub":"a"}"#);
    let claims = claims.trim_end_matches('=');
    let tokens = [
        (concat!("gh", "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17").to_owned(), "GitHub"),
        (concat!("np", "m_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17").to_owned(), "npm"),
        (format!("github{}{}_{}", "_pat_", letters(22), letters(59)), "GitHub"),
        (format!("glpa{}{}", "t-", letters(20)), "GitLab"),
        (format!("glpa{}{}.01.{}", "t-", letters(30), "1a2b3c4d5"), "GitLab"),
        (format!("xox{}2403857169-2403857169-{}", "b-", letters(24)), "Slack"),
        (format!("https://hooks.slack.com{}T0AB2CD3E/B0FG4HI5J/{}", "/services/", letters(24)), "Slack"),
        (format!("sk_{}{}", "live_", letters(24)), "Stripe"),
        (format!("rk_{}{}", "live_", letters(60)), "Stripe"),
        (format!("S{}{}.{}", "G.", letters(22), letters(43)), "SendGrid"),
        (format!("sk-proj-{}T3Blb{}{}", letters(40), "kFJ", letters(40)), "OpenAI"),
        (format!("sk-{}api03-{}", "ant-", letters(80)), "Anthropic"),
        (format!("hv{}{}", "s.", letters(24)), "Vault"),
        (format!("eyJhbGci{}JSUzI1NiJ9.{claims}.{}", "Oi", letters(60)), "Kubernetes"),
    ];
    for (token, provider) in tokens {
        let found = names(&format!("a: \"{token}\"\n"));
        assert!(found.len() == 1 && found[0].contains(provider), "{token}: {found:?}");
        assert_eq!(names(&format!("{{\"a\": \"x\\n{token}\\ny\"}}")), found, "{token}");
        assert_eq!(names(&format!("x{token}")).len(), usize::from(token.starts_with("https")), "{token}");
    }
}

#[test]
fn keys_of_aws_are_found_beside_their_ids() {
    let (id, secret) = (concat!("AK", "IAZ7QWERTY2UIOPASD"), letters(40));
    let texts = [
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"),
        format!("AWS_SECRET_ACCESS_KEY={secret}\nAWS_ACCESS_KEY_ID={id}\n"),
        format!("{{\"id\": \"{id}\", \"key\": \"{secret}\"}}"),
    ];
    for text in texts {
        assert_eq!(names(&text), ["a secret key of AWS"], "{text}");
    }
    let (hash, example) =
        ("0123456789abcdef0123456789abcdef01234567", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let clean = [
        format!("id: {id}\n"),
        format!("id: {id}\ncommit: {hash}\n"),
        format!("id: {id}\nkey: {example}\n"),
        format!("id: AKIAIOSFODNN7EXAMPLE\nkey: {secret}\n"),
        format!("id: {id}\nkey: {secret}A\n"),
        format!("id: {id}\n{}key: {secret}\n", "# far\n".repeat(100)),
        format!("key: {secret}\n"),
    ];
    for text in clean {
        assert_eq!(names(&text), [""; 0], "{text}");
    }
}

#[test]
fn examples_and_other_texts_are_clean() {
    let clean = [
        format!("ghp_{}", "x".repeat(36)),
        format!("ghp_{}", letters(36)),
        "ghp_<your token>".to_owned(),
        "glpat-xxxxxxxxxxxxxxxxxxxx".to_owned(),
        "glpat-your-token-in-here1".to_owned(),
        "xoxb-000000000000-0000000000000-xxxxxxxxxxxxxxxxxxxxxxxx".to_owned(),
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX".to_owned(),
        format!("sk_test_{}", letters(24)),
        "sk_live_...".to_owned(),
        format!("msg.{}.{}", letters(22), letters(43)),
        "task-list, disk-image-of-some-length-and-more-words-in-it".to_owned(),
        format!("sk-{}", letters(48)),
        "hvs.EXAMPLE".to_owned(),
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c".to_owned(),
        "npm_config_registry npm_lifecycle_event".to_owned(),
        "ENC[AES256_GCM,data:Zq7Rw2Tn9Xk4,iv:Lp8Vb3Hs6Jd5Gf1McYtQ=,tag:eUiOaNzKxWvBrEuP==,type:str]".to_owned(),
    ];
    for text in clean {
        assert_eq!(names(&text), [""; 0], "{text}");
    }
}

#[test]
fn findings_tell_the_place() {
    let token = format!("glpa{}{}", "t-", letters(20));
    let text = format!("kind: A\nspec:\n  env:\n  - name: x\n    value: {token}\n");
    assert_eq!(found("TOK001", "a.yaml", &text), ["5 /spec/env/0/value"]);
    assert_eq!(found("TOK001", "run.sh", &format!("#!/bin/sh\nTOKEN='{token}' deploy\n")), ["2"]);
}

#[test]
fn hostile_texts_end() {
    for start in
        ["AKIA", " AKIAZ7QWERTY2UIOPASD", "sk-", " sk-", "eyJhbGciOi.", " eyJhbGciOi", "xoxb-", "SG.", "hvs."]
    {
        let _ = names(&start.repeat(200_000 / start.len()));
    }
}
