//! The modes in which a terminal tells the program things unasked.

/// Those that are set where the model stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reports {
    pub(crate) focus: bool,
    /// The colour scheme.
    pub(crate) theme: bool,
    /// The size, in its input.
    pub(crate) size: bool,
    pub(crate) pastes: bool,
    /// The mouse, in pixels.
    pub(crate) pixels: bool,
    /// The mouse at all; with places as in UTF-8; and in a form that tells where it ends.
    pub(crate) mouse: bool,
    pub(crate) mouse_utf8: bool,
    pub(crate) mouse_numbers: bool,
}

impl Reports {
    /// Reads them by `is_set`, which is given private modes.
    pub(crate) fn read(is_set: impl Fn(u16) -> bool) -> Self {
        Self {
            focus: is_set(1004),
            theme: is_set(2031),
            size: is_set(2048),
            pastes: is_set(5522),
            pixels: is_set(1016),
            mouse: [9, 1000, 1002, 1003].into_iter().any(&is_set),
            mouse_utf8: is_set(1005),
            mouse_numbers: [1006, 1015, 1016].into_iter().any(&is_set),
        }
    }

    /// Whether the mouse reports in its oldest form; and then, whether in UTF-8.
    pub(super) fn oldest_mouse(&self) -> Option<bool> {
        (self.mouse && !self.mouse_numbers).then_some(self.mouse_utf8)
    }
}
