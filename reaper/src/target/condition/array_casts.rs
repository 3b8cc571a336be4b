//! Rewrites casts of array constructors as PostgreSQL does when it parses them.
//!
//! In `k IN ('a', 'b')`, where `k` is a `varchar`, PostgreSQL casts the array of the constants to
//! `text[]`, and writes `(ARRAY['a'::character varying, 'b'::character varying])::text[]`. When
//! PostgreSQL parses this text, it casts the elements instead of the array, and writes
//! `ARRAY[('a'::character varying)::text, ('b'::character varying)::text]`. Both texts have the
//! same meaning, because the cast of an array is the cast of its elements.

use super::tokens::{Token, tokens};

/// Returns the expression with every cast of an array constructor moved to its elements. Other
/// text, including a constructor of nested arrays, remains unchanged.
pub(super) fn moved_to_elements(sql: &str) -> String {
    written(&tokens(sql))
}

fn written(mut rest: &[Token<'_>]) -> String {
    let mut out = String::new();
    while let [token, after @ ..] = rest {
        let (text, after) = cast(rest).unwrap_or_else(|| (token.text().to_owned(), after));
        out.push_str(&text);
        rest = after;
    }
    out
}

/// If `tokens` begin with a cast of an array constructor, `(ARRAY[…])::TYPE[]`, returns the
/// rewritten cast and the remaining tokens.
fn cast<'a, 'b>(tokens: &'b [Token<'a>]) -> Option<(String, &'b [Token<'a>])> {
    let rest = after(tokens, &["(", "ARRAY", "["])?;
    let (elements, rest) = elements(rest)?;
    let rest = after(rest, &[")", "::"])?;
    let name = rest.iter().take_while(|token| token.text() != "[");
    let name: Vec<&str> = name.map(|token| token.text()).collect();
    let rest = after(&rest[name.len()..], &["[", "]"])?;
    let of_name = |text: &&str| {
        text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '"' | '.' | ' '))
    };
    let nested = |element: &&[Token<'_>]| element.first().is_some_and(|t| t.text() == "ARRAY");
    if !name.iter().all(of_name) || elements.iter().any(nested) {
        return None;
    }
    let name = name.concat();
    let element = |element: &&[Token<'_>]| format!("({})::{name}", written(element));
    let elements: Vec<String> = elements.iter().map(element).collect();
    Some((format!("ARRAY[{}]", elements.join(", ")), rest))
}

/// If `tokens` begin with `texts`, returns the tokens that follow.
fn after<'a, 'b>(tokens: &'b [Token<'a>], texts: &[&str]) -> Option<&'b [Token<'a>]> {
    let (first, rest) = tokens.split_at_checked(texts.len())?;
    first.iter().map(|token| token.text()).eq(texts.iter().copied()).then_some(rest)
}

/// Splits the tokens after `[` into the elements up to the matching `]`, and the tokens after it.
fn elements<'a, 'b>(tokens: &'b [Token<'a>]) -> Option<(Vec<&'b [Token<'a>]>, &'b [Token<'a>])> {
    let (mut elements, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.text() {
            "(" | "[" => depth += 1,
            ")" | "]" if depth > 0 => depth -= 1,
            end @ ("," | "]") if depth == 0 => {
                elements.push(trimmed(&tokens[from..at]));
                from = at + 1;
                if end == "]" {
                    return Some((elements, &tokens[from..]));
                }
            }
            _ => {}
        }
    }
    None
}

fn trimmed<'a, 'b>(tokens: &'b [Token<'a>]) -> &'b [Token<'a>] {
    match tokens {
        [Token::Space(_), rest @ ..] => rest,
        _ => tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cast_is_moved_to_the_elements() {
        for (written, expected) in [
            (
                "(k <> ALL ((ARRAY['a'::character varying, NULL::character varying])::text[]))",
                "(k <> ALL (ARRAY[('a'::character varying)::text, (NULL::character varying)::text]))",
            ),
            (
                "(ARRAY['],'::a, f(x, y[1])])::public.\"T x\"[]",
                "ARRAY[('],'::a)::public.\"T x\", (f(x, y[1]))::public.\"T x\"]",
            ),
            ("((ARRAY[a])::x[] = (ARRAY[b])::y z[])", "(ARRAY[(a)::x] = ARRAY[(b)::y z])"),
            ("(ARRAY[f((ARRAY[a])::x[])])::y[]", "ARRAY[(f(ARRAY[(a)::x]))::y]"),
        ] {
            assert_eq!(moved_to_elements(written), expected);
        }
    }

    #[test]
    fn other_text_is_not_rewritten() {
        for text in [
            "(k = ANY (ARRAY['a'::text]))",
            "(k = '(ARRAY[a])::text[]'::text)",
            "(\"ARRAY\"[1])::text[]",
            "((ARRAY[1, 2])[1])::text",
            "(ARRAY[1, 2])::text",
            "(ARRAY[ARRAY[a]])::text[]",
            "(ARRAY[a, b",
            "(ARRAY[]::text[])::x[]",
        ] {
            assert_eq!(moved_to_elements(text), text);
        }
    }
}
