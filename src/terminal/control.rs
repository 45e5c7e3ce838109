//! Control characters, by their standard names.

pub(crate) const BEL: u8 = 0x07;
pub(crate) const BS: u8 = 0x08;
pub(crate) const HT: u8 = 0x09;
pub(crate) const LF: u8 = 0x0a;
pub(crate) const VT: u8 = 0x0b;
pub(crate) const FF: u8 = 0x0c;
pub(crate) const CR: u8 = 0x0d;
pub(crate) const SO: u8 = 0x0e;
pub(crate) const SI: u8 = 0x0f;
pub(crate) const CAN: u8 = 0x18;
pub(crate) const SUB: u8 = 0x1a;
pub(crate) const ESC: u8 = 0x1b;
pub(crate) const DEL: u8 = 0x7f;
