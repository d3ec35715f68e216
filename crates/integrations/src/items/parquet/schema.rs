//! The columns of a Parquet file and the JSON that its rows become.
//!
//! A list or map is three levels in the file, or two in files of old writers; it is an array or an object here. Invariant:
//! every group has a column below it, and the tree is no deeper than [`DEPTH_MAX`].

/// Deepest nesting, so that an item stays below the depth of JSON that an execution takes.
const DEPTH_MAX: usize = 60;
/// Most columns; each has a buffer of its own.
const COLUMNS_MAX: usize = 10_000;

/// An element of the schema as it lies in the footer.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub name: String,
    pub physical: Option<i64>,
    pub length: usize,
    pub repetition: i64,
    pub children: usize,
    pub converted: Option<i64>,
    pub logical: Option<i64>,
    pub scale: i64,
    /// 1 milliseconds, 2 microseconds, 3 nanoseconds.
    pub unit: i64,
    pub unsigned: bool,
}

impl Element {
    pub const DECIMAL: i64 = 5;
    pub const TIME: i64 = 7;
    pub const TIMESTAMP: i64 = 8;
    pub const INTEGER: i64 = 10;
}

/// What a file holds, as a tree and as its columns.
#[derive(Debug)]
pub(super) struct Schema {
    pub fields: Vec<Field>,
    pub leaves: Vec<Leaf>,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub physical: Physical,
    pub meaning: Meaning,
    pub definition_max: u16,
    pub repetition_max: u16,
}

/// How a value lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int32,
    Int64,
    Int96,
    Float,
    Double,
    Bytes,
    Fixed(usize),
}

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Plain,
    Text,
    Unsigned,
    Decimal {
        scale: u32,
    },
    Date,
    /// Of so many units a second.
    Time {
        units: i64,
    },
    Timestamp {
        units: i64,
    },
    Uuid,
    Float16,
}

/// A member of a row or group.
#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub repetition: Repetition,
    /// The definition level at which it is there.
    pub definition: u16,
    /// The repetition level at which another one follows, if it is repeated.
    pub repeats: u16,
    /// The first column of it.
    pub first_leaf: usize,
    /// Behind its last column.
    pub leaves_end: usize,
    pub content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    Required,
    Optional,
    Repeated,
}

#[derive(Debug)]
pub(super) enum Content {
    Leaf,
    Group(Vec<Field>),
    /// The repeated field below it, with what an element is.
    List(Box<Field>),
    /// The repeated group of key and value.
    Map(Box<Field>),
}

struct Builder<'a> {
    elements: std::slice::Iter<'a, Element>,
    leaves: Vec<Leaf>,
}

/// The schema that the elements describe, which lie in depth-first order.
pub(super) fn build(elements: &[Element]) -> Result<Schema, String> {
    let (root, rest) = elements.split_first().ok_or("The Parquet file has no schema.")?;
    let mut builder = Builder { elements: rest.iter(), leaves: Vec::new() };
    let fields = (0..root.children).map(|_| builder.field(0, 0, 1)).collect::<Result<Vec<_>, _>>()?;
    if builder.leaves.is_empty() || builder.leaves.len() > COLUMNS_MAX {
        return Err(format!("The Parquet file has {} columns.", builder.leaves.len()));
    }
    Ok(Schema { fields, leaves: builder.leaves })
}

impl Builder<'_> {
    fn field(&mut self, definition: u16, repeats: u16, depth: usize) -> Result<Field, String> {
        let element = self.elements.next().ok_or("The Parquet file's schema is not complete.")?;
        if depth > DEPTH_MAX {
            return Err(format!("The Parquet file's schema nests deeper than {DEPTH_MAX}."));
        }
        let repetition = match element.repetition {
            0 => Repetition::Required,
            1 => Repetition::Optional,
            2 => Repetition::Repeated,
            _ => return Err("The Parquet file's schema has an unknown repetition.".into()),
        };
        let definition = definition + u16::from(repetition != Repetition::Required);
        let repeats = repeats + u16::from(repetition == Repetition::Repeated);
        let first_leaf = self.leaves.len();
        let content = if element.children == 0 {
            let physical = physical(element)?;
            let meaning = meaning(element, physical)?;
            self.leaves.push(Leaf { physical, meaning, definition_max: definition, repetition_max: repeats });
            Content::Leaf
        } else {
            let children = (0..element.children).map(|_| self.field(definition, repeats, depth + 1));
            group(element, children.collect::<Result<Vec<_>, _>>()?)
        };
        let (name, leaves_end) = (element.name.clone(), self.leaves.len());
        Ok(Field { name, repetition, definition, repeats, first_leaf, leaves_end, content })
    }
}

/// Lists and maps are told by their annotation.
fn group(element: &Element, mut children: Vec<Field>) -> Content {
    let repeated = children.len() == 1 && children[0].repetition == Repetition::Repeated;
    let is = |logical: i64, converted: &[i64]| {
        element.logical == Some(logical) || element.converted.is_some_and(|told| converted.contains(&told))
    };
    if !repeated {
        return Content::Group(children);
    }
    let mut child = children.remove(0);
    if is(2, &[1, 2]) && matches!(&child.content, Content::Group(pair) if pair.len() == 2) {
        return Content::Map(Box::new(child));
    }
    if !is(3, &[3]) {
        children.push(child);
        return Content::Group(children);
    }
    // What files of old writers hold is the element itself.
    let bare = child.name == "array" || child.name == format!("{}_tuple", element.name);
    if let Content::Group(fields) = &mut child.content
        && fields.len() == 1
        && !bare
    {
        return Content::List(Box::new(child));
    }
    child.content = Content::Group(vec![Field {
        name: String::new(),
        repetition: Repetition::Required,
        definition: child.definition,
        repeats: child.repeats,
        first_leaf: child.first_leaf,
        leaves_end: child.leaves_end,
        content: child.content,
    }]);
    Content::List(Box::new(child))
}

fn physical(element: &Element) -> Result<Physical, String> {
    Ok(match element.physical {
        Some(0) => Physical::Boolean,
        Some(1) => Physical::Int32,
        Some(2) => Physical::Int64,
        Some(3) => Physical::Int96,
        Some(4) => Physical::Float,
        Some(5) => Physical::Double,
        Some(6) => Physical::Bytes,
        Some(7) if element.length > 0 => Physical::Fixed(element.length),
        _ => return Err(format!("The Parquet file's column '{}' has no type.", element.name)),
    })
}

fn meaning(element: &Element, physical: Physical) -> Result<Meaning, String> {
    let units = |unit: i64| match unit {
        1 => 1_000,
        2 => 1_000_000,
        _ => 1_000_000_000,
    };
    let scale = || {
        let scale = u32::try_from(element.scale).ok().filter(|scale| *scale <= 1_000);
        scale.ok_or_else(|| format!("The Parquet file's column '{}' has a bad scale.", element.name))
    };
    Ok(match (element.logical, element.converted) {
        (Some(1 | 4 | 12), _) | (_, Some(0 | 4 | 19)) => Meaning::Text,
        (Some(Element::DECIMAL), _) | (_, Some(5)) => Meaning::Decimal { scale: scale()? },
        (Some(6), _) | (_, Some(6)) => Meaning::Date,
        (Some(Element::TIME), _) => Meaning::Time { units: units(element.unit) },
        (Some(Element::TIMESTAMP), _) => Meaning::Timestamp { units: units(element.unit) },
        (_, Some(converted @ (7 | 8))) => Meaning::Time { units: units(converted - 6) },
        (_, Some(converted @ (9 | 10))) => Meaning::Timestamp { units: units(converted - 8) },
        (_, Some(11..=14)) => Meaning::Unsigned,
        (Some(Element::INTEGER), _) if element.unsigned => Meaning::Unsigned,
        (Some(14), _) if physical == Physical::Fixed(16) => Meaning::Uuid,
        (Some(15), _) if physical == Physical::Fixed(2) => Meaning::Float16,
        _ if physical == Physical::Int96 => Meaning::Timestamp { units: 1_000 },
        _ => Meaning::Plain,
    })
}
