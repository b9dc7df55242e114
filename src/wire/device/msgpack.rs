//! A scanner of MessagePack. Every length that is announced is checked against the bytes that are left.

use std::borrow::Cow;

use rmp::Marker;

use super::envelope::{Found, Reader, View};
use super::error::Fault;
use crate::wire::MAX_DEPTH;

/// One item; of an array or a map, how many members follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item<'a> {
    Nil,
    Flag(bool),
    Uint(u64),
    /// Below 0.
    Int(i64),
    Float(f64),
    /// Not yet checked to be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// An extension, whose meaning only its sender knows.
    Extension,
    Array(usize),
    Map(usize),
}

/// A place in MessagePack.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Scanner { bytes, at: 0 }
    }

    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let taken = self.left().get(..len);
        let taken = taken.ok_or(Fault::Syntax("not MessagePack: it ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    /// A big-endian number of `N` bytes, in the low bytes of eight.
    fn number<const N: usize>(&mut self) -> Result<u64, Fault> {
        let bytes = self.take(N)?.iter();
        Ok(bytes.fold(0, |number, &byte| (number << 8) | u64::from(byte)))
    }

    fn length<const N: usize>(&mut self) -> Result<usize, Fault> {
        // At most four bytes are asked for; where they do not fit, the bytes that they announce are not there either.
        Ok(usize::try_from(self.number::<N>()?).unwrap_or(usize::MAX))
    }

    fn text<const N: usize>(&mut self) -> Result<Item<'a>, Fault> {
        let len = self.length::<N>()?;
        Ok(Item::Text(self.take(len)?))
    }

    fn binary<const N: usize>(&mut self) -> Result<Item<'a>, Fault> {
        let len = self.length::<N>()?;
        Ok(Item::Bytes(self.take(len)?))
    }

    /// Steps over the type and the data of an extension.
    fn extension(&mut self, len: usize) -> Result<Item<'a>, Fault> {
        self.take(1)?;
        self.take(len)?;
        Ok(Item::Extension)
    }

    /// The members of an array or a map, where there are bytes enough for them: each takes at least one.
    fn members(&self, count: usize, bytes_each: usize) -> Result<usize, Fault> {
        if count > self.left().len() / bytes_each {
            return Err(Fault::Syntax("not MessagePack: it ends too early"));
        }
        Ok(count)
    }

    fn array(&self, count: usize) -> Result<Item<'a>, Fault> {
        Ok(Item::Array(self.members(count, 1)?))
    }

    fn map_of(&self, count: usize) -> Result<Item<'a>, Fault> {
        Ok(Item::Map(self.members(count, 2)?))
    }

    /// Reads one item; of an array or a map, only the head.
    pub(super) fn item(&mut self) -> Result<Item<'a>, Fault> {
        let marker = Marker::from_u8(self.number::<1>()? as u8);
        let signed = |number: i64| match u64::try_from(number) {
            Ok(number) => Item::Uint(number),
            Err(_) => Item::Int(number),
        };
        Ok(match marker {
            Marker::Null => Item::Nil,
            Marker::True => Item::Flag(true),
            Marker::False => Item::Flag(false),
            Marker::FixPos(number) => Item::Uint(number.into()),
            Marker::FixNeg(number) => Item::Int(number.into()),
            Marker::U8 => Item::Uint(self.number::<1>()?),
            Marker::U16 => Item::Uint(self.number::<2>()?),
            Marker::U32 => Item::Uint(self.number::<4>()?),
            Marker::U64 => Item::Uint(self.number::<8>()?),
            // Each cast cuts off zeros only, and brings the sign to where it belongs.
            Marker::I8 => signed((self.number::<1>()? as u8 as i8).into()),
            Marker::I16 => signed((self.number::<2>()? as u16 as i16).into()),
            Marker::I32 => signed((self.number::<4>()? as u32 as i32).into()),
            Marker::I64 => signed(self.number::<8>()? as i64),
            Marker::F32 => Item::Float(f32::from_bits(self.number::<4>()? as u32).into()),
            Marker::F64 => Item::Float(f64::from_bits(self.number::<8>()?)),
            Marker::FixStr(len) => Item::Text(self.take(len.into())?),
            Marker::Str8 => self.text::<1>()?,
            Marker::Str16 => self.text::<2>()?,
            Marker::Str32 => self.text::<4>()?,
            Marker::Bin8 => self.binary::<1>()?,
            Marker::Bin16 => self.binary::<2>()?,
            Marker::Bin32 => self.binary::<4>()?,
            Marker::FixArray(count) => self.array(count.into())?,
            Marker::Array16 => {
                let count = self.length::<2>()?;
                self.array(count)?
            }
            Marker::Array32 => {
                let count = self.length::<4>()?;
                self.array(count)?
            }
            Marker::FixMap(count) => self.map_of(count.into())?,
            Marker::Map16 => {
                let count = self.length::<2>()?;
                self.map_of(count)?
            }
            Marker::Map32 => {
                let count = self.length::<4>()?;
                self.map_of(count)?
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let len = self.length::<1>()?;
                self.extension(len)?
            }
            Marker::Ext16 => {
                let len = self.length::<2>()?;
                self.extension(len)?
            }
            Marker::Ext32 => {
                let len = self.length::<4>()?;
                self.extension(len)?
            }
            Marker::Reserved => return Err(Fault::Syntax("not MessagePack: a reserved byte")),
        })
    }

    /// Steps over one value of at most `room` levels.
    fn value(&mut self, room: usize) -> Result<(), Fault> {
        let members = match self.item()? {
            Item::Array(count) => count,
            // No overflow: there are as many bytes.
            Item::Map(count) => 2 * count,
            _ => return Ok(()),
        };
        let room = room.checked_sub(1).ok_or(Fault::TooDeep)?;
        (0..members).try_for_each(|_| self.value(room))
    }
}

/// Text, which must be UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Syntax("not MessagePack: text is not UTF-8"))
}

/// A scanned value, as far as it is no array and no map.
pub(super) fn view(bytes: &[u8]) -> View<'_> {
    match Scanner::new(bytes).item() {
        Ok(Item::Nil) => View::Null,
        Ok(Item::Flag(flag)) => View::Flag(flag),
        Ok(Item::Uint(number)) => View::Uint(number),
        Ok(Item::Int(number)) => View::Int(number),
        Ok(Item::Float(number)) => View::Float(number),
        Ok(Item::Text(text)) => match utf8(text) {
            Ok(text) => View::Text(Cow::Borrowed(text)),
            Err(_) => View::Broken,
        },
        Ok(Item::Bytes(_) | Item::Extension | Item::Array(_) | Item::Map(_)) | Err(_) => {
            View::Other
        }
    }
}

impl<'a> Reader<'a> for Scanner<'a> {
    /// How many members are left.
    type Members = usize;

    fn map(&mut self) -> Result<Option<usize>, Fault> {
        let mark = self.at;
        match self.item()? {
            Item::Map(count) => Ok(Some(count)),
            _ => {
                self.at = mark;
                Ok(None)
            }
        }
    }

    fn next(&mut self, left: &mut usize) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(rest) = left.checked_sub(1) else {
            return Ok(None);
        };
        *left = rest;
        match self.item()? {
            Item::Text(key) => Ok(Some(Cow::Borrowed(utf8(key)?))),
            _ => Err(Fault::Syntax("a key is not a string")),
        }
    }

    fn skip(&mut self) -> Result<(), Fault> {
        self.value(MAX_DEPTH)
    }

    fn mark(&self) -> usize {
        self.at
    }

    fn since(&self, mark: usize) -> Found<'a> {
        Found::MessagePack(self.bytes.get(mark..self.at).unwrap_or_default())
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.left() {
            [] => Ok(()),
            _ => Err(Fault::Syntax("not MessagePack: something follows the end")),
        }
    }
}
