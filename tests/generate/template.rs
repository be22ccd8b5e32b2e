//! Made-up templates, of functions that always make the same of the same.

use proptest::prelude::{Strategy, any};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Returns templates, most of which can be rendered.
pub fn templates() -> impl Strategy<Value = String> {
    (any::<u64>(), 1..5_usize).prop_map(|(seed, size)| {
        let mut maker = Maker { rng: ChaCha20Rng::seed_from_u64(seed), variables: 0, ranges: 0 };
        maker.list(size)
    })
}

struct Maker {
    rng: ChaCha20Rng,
    /// How many variables there are: `$v0`, `$v1` and so on.
    variables: usize,
    /// How many ranges are open.
    ranges: usize,
}

impl Maker {
    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn list(&mut self, size: usize) -> String {
        (0..=self.below(3)).map(|_| self.node(size)).collect()
    }

    fn node(&mut self, size: usize) -> String {
        let (open, close) = (self.one_of(&["{{", "{{ ", "{{- "]), self.one_of(&["}}", " }}", " -}}"]));
        let variables = self.variables;
        let node = match self.below(if size == 0 { 4 } else { 12 }) {
            0 => self.one_of(TEXTS).to_owned(),
            1..=3 | 10 => format!("{open}{}{close}", self.pipe(size)),
            4 => {
                let condition = self.pipe(size - 1);
                let otherwise = self.one_of(&["", "{{ else }}", "{{ else if .empty }}x{{ else }}"]);
                let (list, rest) = (self.list(size - 1), self.list(size - 1));
                format!("{open}if {condition}{close}{list}{otherwise}{rest}{{{{ end }}}}")
            }
            5 => {
                let value = self.pipe(size - 1);
                format!(
                    "{open}with {value}{close}{}{{{{ else }}}}{}{{{{ end }}}}",
                    self.list(size - 1),
                    self.one_of(TEXTS)
                )
            }
            6 | 7 => self.range(size, open, close),
            8 => {
                let value = self.pipe(size);
                self.variables += 1;
                return format!("{open}$v{} := {value}{close}", self.variables - 1);
            }
            9 if self.variables > 0 => {
                let name = self.below(self.variables);
                format!("{open}$v{name} = {}{close}", self.pipe(size))
            }
            11 if self.ranges > 0 => format!(
                "{{{{ if {} }}}}{{{{ {} }}}}{{{{ end }}}}",
                self.any(size),
                self.one_of(&["break", "continue"])
            ),
            _ => format!("{{{{/* {} */}}}}", self.one_of(&["a", "b }} c"])),
        };
        self.variables = variables;
        node
    }

    fn range(&mut self, size: usize, open: &str, close: &str) -> String {
        let variables = self.variables;
        let over = match self.below(4) {
            0 => self.number(size - 1),
            1 => self.dict(size - 1),
            2 => ".".to_owned(),
            _ => self.values(size - 1),
        };
        let declared = match self.below(3) {
            0 => String::new(),
            1 => {
                self.variables += 1;
                format!("$v{variables} := ")
            }
            _ => {
                self.variables += 2;
                format!("$v{variables}, $v{} := ", variables + 1)
            }
        };
        self.ranges += 1;
        let list = self.list(size - 1);
        self.ranges -= 1;
        self.variables = variables;
        format!("{open}range {declared}{over}{close}{list}{{{{ else }}}}none{{{{ end }}}}")
    }

    fn pipe(&mut self, size: usize) -> String {
        let value = match self.below(6) {
            0 | 1 => self.text(size),
            2 => self.number(size),
            3 => self.values(size),
            4 => self.dict(size),
            _ => self.any(size),
        };
        let further = self.one_of(&[
            "",
            "",
            "",
            " | quote",
            " | toJson",
            " | toString | upper",
            " | printf \"%v\"",
            " | typeOf",
            " | empty",
        ]);
        format!("{value}{further}")
    }

    fn any(&mut self, size: usize) -> String {
        if size > 0 && self.below(2) == 0 {
            return match self.below(5) {
                0 => self.text(size),
                1 => self.number(size),
                2 => self.values(size),
                3 => self.dict(size),
                _ => self.call(size, ANY),
            };
        }
        match self.below(8) {
            0 if self.variables > 0 => format!("$v{}", self.below(self.variables)),
            1 => ".".to_owned(),
            2 => "nil".to_owned(),
            3 => self.one_of(&["true", "false", ".missing", "$", "1.5", "0.0", "$.user", "-2.25"]).to_owned(),
            4 => self.one_of(NUMBERS).to_owned(),
            _ => self.one_of(STRINGS).to_owned(),
        }
    }

    fn text(&mut self, size: usize) -> String {
        if size == 0 || self.below(3) == 0 {
            self.one_of(STRINGS).to_owned()
        } else {
            self.call(size, OF_TEXT)
        }
    }

    fn number(&mut self, size: usize) -> String {
        if size == 0 || self.below(3) == 0 {
            self.one_of(NUMBERS).to_owned()
        } else {
            self.call(size, OF_NUMBER)
        }
    }

    fn values(&mut self, size: usize) -> String {
        if size == 0 { "(list 1 \"a\" nil)".to_owned() } else { self.call(size, OF_LIST) }
    }

    fn dict(&mut self, size: usize) -> String {
        if size == 0 { "(dict \"a\" 1 \"b\" \"x\")".to_owned() } else { self.call(size, OF_DICT) }
    }

    /// Makes a call: letters stand for arguments of a type.
    fn call(&mut self, size: usize, functions: &[&str]) -> String {
        let mut words = self.one_of(functions).split(' ');
        let mut call = format!("({}", words.next().unwrap_or_default());
        for word in words {
            let argument = match word {
                "a" => self.any(size - 1),
                "b" => format!("(not {})", self.any(size - 1)),
                "d" => self.dict(size - 1),
                "f" => self
                    .one_of(&[
                        "\"%v\"",
                        "\"%5.2f|%d\"",
                        "\"%q %s\"",
                        "\"%#v\"",
                        "\"%-8v|%x\"",
                        "\"%[2]v %[1]v\"",
                        "\"%+d%%\"",
                        "\"%T %t\"",
                        "\"%c %U\"",
                        "\"%08.3f %e %g\"",
                    ])
                    .to_owned(),
                "i" => self.one_of(&["0", "1", "2", "3", "7", "-1", "-4"]).to_owned(),
                "k" => self.one_of(&["\"a\"", "\"b\"", "\"zz\""]).to_owned(),
                "l" => self.values(size - 1),
                "n" => self.number(size - 1),
                "r" => self
                    .one_of(&[
                        "\"[a-z]+\"",
                        "\"(\\\\w)(\\\\d*)\"",
                        "\"\"",
                        "\"x*\"",
                        "\"^.|e$\"",
                        "\"(?i)L\"",
                        "\"\\\\b\"",
                        "\"[^a]\"",
                    ])
                    .to_owned(),
                "t" => self.text(size - 1),
                "*" => (0..self.below(3)).map(|_| self.any(size - 1)).collect::<Vec<_>>().join(" "),
                other => other.to_owned(),
            };
            call.push(' ');
            call.push_str(&argument);
        }
        call.push(')');
        call
    }
}

const TEXTS: &[&str] = &["text", " a \n", "\n", "{", "}}", "é", ""];

const STRINGS: &[&str] = &[
    "\"\"",
    "\"a\"",
    "\"Hello World\"",
    "\"a,b,,c\"",
    "\"héllo Ünï\"",
    "`raw \"x\"`",
    "\"  sp ace \"",
    "\"12\"",
    "\"-3.5\"",
    "\"0x1F\"",
    "\"foo_bar-bazQux9\"",
    "\"line\\nline two\\n\"",
    "\"<&>'\"",
    "\"true\"",
    "\"\\xff\\x00\"",
    ".user",
    ".password",
    ".text",
    ".json",
    ".number",
    "(index . \"k-with-dash\")",
    ".empty",
];

const NUMBERS: &[&str] = &["0", "1", "2", "-1", "3", "17", "0x10", "'a'", "1.5", "-0.25", "1e3", "100"];

const ANY: &[&str] = &[
    "default a a",
    "coalesce *",
    "ternary a a b",
    "first l",
    "last l",
    "index l i",
    "get d k",
    "and a *",
    "or a *",
    "dig k k a d",
    "fromJson t",
    "eq a a",
    "ne a a",
    "lt a a",
    "le n n",
    "gt t t",
    "ge a a",
    "not a",
    "empty a",
    "all *",
    "any *",
    "has a l",
    "hasKey d k",
    "contains t t",
    "hasPrefix t t",
    "hasSuffix t t",
    "kindIs k a",
    "deepEqual a a",
    "regexMatch r t",
    "deepCopy a",
    "semverCompare \">=1.2\" t",
    "index . k",
    "isAbs t",
    "mustHas a l",
    "len a",
    "slice l i i",
    "split t t",
    "splitn \",\" i t",
];

const OF_TEXT: &[&str] = &[
    "upper t",
    "lower t",
    "title t",
    "untitle t",
    "trim t",
    "trimAll t t",
    "trimPrefix t t",
    "trimSuffix t t",
    "nospace t",
    "initials t",
    "swapcase t",
    "snakecase t",
    "camelcase t",
    "kebabcase t",
    "wrap i t",
    "wrapWith i k t",
    "abbrev i t",
    "abbrevboth i i t",
    "trunc i t",
    "substr 0 i t",
    "repeat i t",
    "replace k t t",
    "quote *",
    "squote *",
    "cat *",
    "indent i t",
    "nindent i t",
    "plural t t i",
    "sha1sum t",
    "sha256sum t",
    "adler32sum t",
    "toString a",
    "join k l",
    "join k a",
    "toJson a",
    "toPrettyJson a",
    "toRawJson a",
    "b64enc t",
    "b64dec t",
    "b32enc t",
    "b32dec t",
    "print *",
    "println *",
    "printf f *",
    "html *",
    "js *",
    "urlquery *",
    "typeOf a",
    "kindOf a",
    "regexFind r t",
    "regexReplaceAll r t \"<$1>\"",
    "regexReplaceAllLiteral r t t",
    "regexQuoteMeta t",
    "base t",
    "dir t",
    "clean t",
    "ext t",
    "duration t",
    "durationRound t",
    "date \"2006-01-02 15:04:05 Mon\" i",
    "htmlDate i",
    "seq i i",
    "seq i i i",
    "default t t",
    "urlJoin d",
    "sha512sum t",
];

const OF_NUMBER: &[&str] = &[
    "add *",
    "sub a a",
    "mul n *",
    "div n a",
    "mod n a",
    "max n *",
    "min n *",
    "int a",
    "int64 a",
    "float64 a",
    "add1 a",
    "len t",
    "len l",
    "len d",
    "atoi t",
    "round n i",
    "ceil n",
    "floor n",
    "addf *",
    "subf a *",
    "mulf a a",
    "maxf a *",
    "minf a *",
    "toDecimal a",
    "divf n n",
    "add1f a",
    "biggest n *",
];

const OF_LIST: &[&str] = &[
    "list *",
    "tuple a",
    "append l a",
    "prepend l a",
    "rest l",
    "initial l",
    "reverse l",
    "uniq l",
    "compact l",
    "without l *",
    "concat l l",
    "until i",
    "untilStep i i i",
    "splitList k t",
    "sortAlpha l",
    "toStrings a",
    "chunk i l",
    "regexFindAll r t i",
    "regexSplit r t i",
    "pluck k d d",
    "slice l i",
    "mustReverse l",
];

const OF_DICT: &[&str] = &[
    "dict *",
    "dict k a k a",
    "set d k a",
    "unset d k",
    "pick d k",
    "omit d k",
    "merge d d",
    "mergeOverwrite d d",
    "fromJson `{\"a\":[1,{\"b\":null}]}`",
    "dict \"a\" d \"b\" l",
    "urlParse t",
    "deepCopy d",
];
