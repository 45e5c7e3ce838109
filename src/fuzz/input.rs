//! How the entry points take an input apart.

/// The first byte of an input, which chooses something, and the others.
pub(crate) fn choice(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}

/// Cuts `bytes` into pieces as `choice` says: not at all, into single bytes, or into pieces of up to so many bytes.
pub(crate) fn pieces(bytes: &[u8], choice: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut random = u32::from(choice);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // The constants of Numerical Recipes; all that matters is that the sizes differ.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = match choice {
            0 => rest.len(),
            most => 1 + (random >> 16) as usize % usize::from(most),
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        Some(piece)
    })
}
