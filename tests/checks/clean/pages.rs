//! Pages, texts in other languages, public keys, pictures and odd files.

use crate::checks::case::{Case, Encoding};
use crate::checks::maker::Maker;

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, path, text) in SIMPLE {
        cases.push(make.clean(name).file(path, *text));
    }
    let text = format!("# Keys\n\nFiles are encrypted for `{}`.\n", make.recipient);
    cases.push(make.clean("a public key of age on a page").file("README.md", text));
    let text = format!("# created: 2026-01-02T03:04:05Z\n# public key: {}\n{}\n", make.recipient, make.other);
    cases.push(make.clean("a file of recipients").file("recipients.txt", text));
    let key = make.noise(51);
    cases.push(
        make.clean("a public key of SSH").file("deploy.pub", format!("ssh-ed25519 {key} robot@example\n")),
    );
    let key = make.certificate().replace("CERTIFICATE", "PUBLIC KEY");
    cases.push(make.clean("a public key in PEM").file("token.pem", key));
    let key = make.certificate().replace("CERTIFICATE", "PGP PUBLIC KEY BLOCK");
    cases.push(make.clean("a public key of OpenPGP").file("robot.asc", key));
    let noise = make.noise(90);
    let text = format!("<svg><image href=\"data:image/png;base64,{noise}\"/></svg>\n");
    cases.push(make.clean("a picture within a picture").file("secret-logo.svg", text));
    let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: token}\ndata: {a: Übung}\n";
    cases.push(make.clean("a ConfigMap in UTF-16").encoded("a.yaml", text, Encoding::Utf16));
    let bytes: Vec<u8> = make.noise(3000).bytes().flat_map(|byte| [0, byte, 0xff, byte ^ 0x5a]).collect();
    cases.push(make.clean("bytes that are no text").bytes("secret.bin", bytes));
    cases.push(make.clean("an empty file").file("secret.yaml", ""));
    cases
}

const SIMPLE: &[(&str, &str, &str)] = &[
    (
        "a page with examples",
        "docs/secrets.md",
        "# Secrets\n\nNever commit this:\n\n```yaml\napiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  password: <your password>\n```\n\nBut `kubectl create secret generic db --from-literal=password=$PASSWORD`, or\n`--from-literal=password=<password>`, or `--from-file=password.txt`.\n",
    ),
    (
        "addresses without passwords",
        "config.yaml",
        "a: https://user@git.example/a.git\nb: postgres://localhost:5432/app\nc: postgres://app:${DB_PASSWORD}@db:5432/app\nd: http://admin:admin@localhost:8080/\ne: https://[::1]:8080/a:b@c\n",
    ),
    (
        "texts in English",
        "i18n/en.json",
        "{\n  \"password\": \"Password\",\n  \"forgotPassword\": \"Forgot your password?\",\n  \"token\": \"Enter the token from your e-mail\",\n  \"secretQuestion\": \"Secret question\"\n}\n",
    ),
    (
        "texts in German",
        "locales/de.yaml",
        "login:\n  password: Passwort\n  password_hint: Mindestens zwölf Zeichen\n  api_token: Zugriffsschlüssel\n",
    ),
    (
        "a program that reads passwords",
        "src/login.py",
        "def login(password: str, token=None):\n    secret = os.environ[\"APP_SECRET\"]\n    if password == '':\n        raise ValueError('no password')\n",
    ),
    (
        "a page about keys",
        "docs/keys.md",
        "A key starts with `-----BEGIN RSA PRIVATE KEY-----`, one of age with `AGE-SECRET-KEY-1`.\nTokens of GitHub start with `ghp_`. Look for `ENC[AES256_GCM,` and `sops:`.\n",
    ),
    (
        "a script that makes a Secret",
        "setup.sh",
        "#!/bin/sh\nset -eu\nkubectl create secret generic db --from-literal=password=\"$(openssl rand -base64 24)\" --dry-run=client -o yaml |\n  kubectl seal - > sealed.yaml\nkubectl create configmap a --from-literal=mode=fast\n",
    ),
    (
        "settings of a linter",
        ".gitleaks.toml",
        "[extend]\nuseDefault = true\n[[rules]]\nid = \"secret\"\nregex = '''password\\s*=\\s*(\\S+)'''\nkeywords = [\"password\"]\n",
    ),
    (
        "settings of SSO",
        "sso.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\ndata:\n  oidc.config: |\n    issuer: https://id.example\n    clientID: argocd\n    clientSecret: $oidc.clientSecret\n",
    ),
    (
        "identifiers",
        "ids.yaml",
        "tenant: 8d1c4a2e-6b0f-4f0e-9c55-0f3a1b2c4d5e\nkeyId: arn:aws:kms:eu-central-1:111122223333:key/8d1c4a2e-6b0f-4f0e-9c55-0f3a1b2c4d5e\nsecretArn: arn:aws:secretsmanager:eu-central-1:111122223333:secret:db-AbCdEf\n",
    ),
    ("YAML that cannot be read, and is about no secret", "broken.yaml", "a: [b\nc: d: e\n"),
    (
        "rules of an alert",
        "alerts.yaml",
        "groups:\n  - name: tokens\n    rules:\n      - alert: TokenExpires\n        expr: token_expiry_seconds < 86400\n        annotations:\n          summary: The token of {{ $labels.secret }} expires\n",
    ),
];
