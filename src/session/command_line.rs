//! A command line and a title as lists show them: short, and harmless to a terminal.

/// Characters of either that are shown: some lines of a terminal. Linux allows a command line of 2 MiB, of which a few
/// would fill a reply, and the remembered ones the memory.
const MAX_SHOWN: usize = 500;

/// A title as lists show it.
pub(super) fn shown_title(title: &str) -> String {
    title.chars().filter(|character| !character.is_control()).take(MAX_SHOWN).collect()
}

/// The start of a command line, quoted as a shell reads it, with anything that could steer a terminal escaped.
pub(super) fn shell_words(command: &[Vec<u8>]) -> String {
    let mut text = String::new();
    let mut left = MAX_SHOWN;
    for (index, word) in command.iter().enumerate() {
        // A character has at most four bytes, so this is enough of the word.
        let enough = &word[..word.len().min(4 * MAX_SHOWN)];
        let word = quoted(&String::from_utf8_lossy(enough));
        for character in (index > 0).then_some(' ').into_iter().chain(word.chars()) {
            if left == 0 {
                text.push('…');
                return text;
            }
            left -= 1;
            text.push(character);
        }
    }
    text
}

/// A word as shells read it back. For control characters there is a form that POSIX has since 2024; bash, zsh and ksh
/// have had it for long.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| {
        character.is_alphanumeric()
            || matches!(character, '%' | '+' | ',' | '-' | '.' | '/' | ':' | '=' | '@' | '_')
    };
    if word.chars().any(char::is_control) {
        let escape = |character: char| match character {
            '\'' | '\\' => format!("\\{character}"),
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            '\r' => "\\r".to_owned(),
            // Three octal digits for each byte.
            control if control.is_control() => {
                control.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("\\{byte:03o}")).collect()
            }
            other => other.to_string(),
        };
        return format!("$'{}'", word.chars().map(escape).collect::<String>());
    }
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_a_shown_command_line_back_as_it_was() {
        let words =
            ["a b", "", "it's", "$HOME", "`x`", "a\nb\t'c'\\", "\x1b[2J\x7f", "~", "#", "ü=1", "\u{9b}", "*"];
        let command: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let shown = shell_words(&command);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        let script = format!("printf '%s\\0' {shown}");
        let Ok(read) = Command::new("bash").args(["-c", &script]).output() else {
            println!("not shown: there is no bash");
            return;
        };
        let read = String::from_utf8(read.stdout).unwrap();
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), words);
    }

    #[test]
    fn words_that_need_no_quotes_have_none_and_a_long_line_is_cut() {
        let plain = ["make", "-j8", "A=b", "/usr/bin/x.y", "host:1", "50%", "@a,b+c_d"];
        let command: Vec<_> = plain.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(shell_words(&command), plain.join(" "));
        let long = shell_words(&[vec![b'x'; 1000]]);
        assert_eq!(long.chars().count(), MAX_SHOWN + 1);
        assert!(long.ends_with('…'));
    }
}
