//! What runs the pages, on pages that are made up: a page that is wrong has to be told, or the others prove nothing.

use libtest_mimic::{Failed, Trial};

use super::labs::KINDS;
use super::matching::is_shown;
use super::page::Page;
use super::story;

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    let refused = REFUSED.iter().map(|(name, page, message)| {
        Trial::test(format!("documentation::refuses::{name}"), move || refuses(page, message))
    });
    let taken = TAKEN
        .iter()
        .map(|(name, page)| Trial::test(format!("documentation::takes::{name}"), move || run(page)));
    let shown = Trial::test("documentation::what_is_shown", what_is_shown);
    refused.chain(taken).chain([shown]).collect()
}

fn run(page: &str) -> Result<(), Failed> {
    let page = Page::parse("page.md", page)?;
    let kind = KINDS.iter().find(|kind| kind.name == page.lab).ok_or("there is no such lab")?;
    story::run(&page, kind)
}

fn refuses(page: &str, message: &str) -> Result<(), Failed> {
    match run(page) {
        Ok(()) => Err("it is taken".into()),
        Err(failed) if failed.message().is_some_and(|said| said.contains(message)) => Ok(()),
        Err(failed) => Err(format!("it says {:?}", failed.message().unwrap_or_default()).into()),
    }
}

fn what_is_shown() -> Result<(), Failed> {
    let cases = [
        ("a\n", "a\n\n", true),
        ("a  \n", "a\n", true),
        ("a\n", "a\nb\n", false),
        ("a\nb\n", "a\n", false),
        ("a…c\n", "abbc\n", true),
        ("a…c…d\n", "a-c-\n", false),
        ("...\nb\n", "a\na\nb\n", true),
        ("...\nb\n...\nb\n", "b\na\nb\n", true),
        ("...\nb\n...\nb\n", "a\nb\n", false),
        ("a\n...\n", "a\n", true),
        ("a\nb\n", &format!("a\n{STOPPED_WATCH}\nb\n"), true),
        ("a\nb\n", &format!("a\n{}\nb\n", STOPPED_WATCH.replace("canceled", "deadline exceeded")), false),
    ];
    for (shown, text, wanted) in cases {
        if is_shown(shown, text) != wanted {
            return Err(format!("{shown:?} and {text:?}").into());
        }
    }
    Ok(())
}

/// What kubectl 1.37 logs at times, shortened.
const STOPPED_WATCH: &str = "E1129 10:38:09.609446    7336 reflector.go:227] \"Failed to watch\" \
    err=\"Get \\\"https://198.18.0.1:6443/apis/apps/v1/watch\\\": context canceled\" reflector=\"reflector.go:343\"";

/// Pages with what is said of them.
const REFUSED: &[(&str, &str, &str)] = &[
    ("what_fails", "# A\n\n```sh\ntrue\nfalse\ntrue\n```\n", "page.md:5: exit status: 1, not 0"),
    ("a_pipe_that_fails", "```sh\nfalse | cat\n```\n", "page.md:2: exit status: 1, not 0"),
    ("other_output", "```sh\necho a\n```\n\n```text\nb\n```\n", "page.md:6: something else came out"),
    (
        "an_unset_variable_of_a_setup",
        "<!-- setup\ntest -n \"$NOT_THERE\"\n-->\n",
        "page.md:2: exit status: 1",
    ),
    (
        "what_should_fail",
        "<!-- fails: 1 -->\n```sh\ntrue\n```\n```text\n```\n",
        "page.md:3: exit status: 0, not 1",
    ),
    ("a_failure_without_words", "<!-- fails: 1 -->\n```sh\nfalse\n```\n", "page.md:3: the block fails"),
    (
        "a_comment_that_is_misspelt",
        "<!-- fail: 1 -->\n```sh\ntrue\n```\n",
        "page.md:1: this comment says nothing",
    ),
    (
        "a_comment_without_a_block",
        "```sh\ntrue\n```\n\n<!-- fails: 1 -->\n",
        "a comment has no block behind it",
    ),
    ("no_reason", "<!-- not run: -->\n```sh\ntrue\n```\n", "page.md:3: nothing says why"),
    ("no_language", "```\ntrue\n```\n", "page.md:2: the block says no language"),
    ("a_language_that_is_not_run", "```bash\nfalse\n```\n", "page.md:2: \"bash\" is no language"),
    ("a_failure_in_the_middle", "```sh\nfalse && true\necho after\n```\n", "page.md:2: a failure left of &&"),
    (
        "a_failure_in_the_middle_of_a_loop",
        "```sh\nfor a in 'b && c'; do\n  false && true\ndone\necho after\n```\n",
        "page.md:3: a failure left of &&",
    ),
    ("a_failure_of_a_setup", "<!-- setup\nfalse && true\ntrue\n-->\n", "page.md:2: a failure left of &&"),
    ("a_failure_that_is_denied", "```sh\n! true\ntrue\n```\n", "page.md:2: a line with ! never fails"),
    ("a_failure_at_the_end", "```sh\ntrue\nfalse && true\n```\n", "exit status: 1, not 0"),
    (
        "other_output_behind_a_setup",
        "```sh\necho a\n```\n\n<!-- setup\ntrue\n-->\n\n```text\nb\n```\n",
        "page.md:10: something else came out",
    ),
    ("an_unknown_deed", "<!-- does: dance -->\n\n```sh\ntrue\n```\n", "page.md:1: this lab does not know"),
];

/// Pages with nothing wrong about them.
const TAKEN: &[(&str, &str)] = &[
    (
        "one_session",
        "```sh\nmkdir a\ncd a\nexport WORD=b\n```\n\nand\n\n```sh\nbasename \"$PWD\"\necho $WORD\n```\n\n```text\na\nb\n```\n",
    ),
    (
        "files",
        "```sh\nmkdir a && cd a\n```\n\n<!-- file: b/c.yaml -->\n```yaml\nd: e\n```\n\n```sh\ncat b/c.yaml\n```\n\n```text\nd: e\n```\n",
    ),
    (
        "both_outputs",
        "```sh\necho a\necho b >&2\necho c\n```\n\n<!-- setup\ntrue\n-->\n\n```text\na\nb\nc\n```\n",
    ),
    (
        "what_is_typed",
        "<!-- typed: b -->\n```sh\nread -p 'a: ' word && echo \"<$word>\"\n```\n\n```text\na: b\n<b>\n```\n",
    ),
    (
        "lists_that_tell_failures",
        "```sh\n(true && true)\nif true && true; then\n  echo 'a && b' # && c\nfi\ncat <<END\nd && e's\nEND\ntrue && true\n```\n\n```text\na && b\nd && e's\n```\n",
    ),
    ("our_programs", "```sh\nkubectl seal --version\nseal-hook --version\nselkie-decryptor --version\n```\n"),
];
