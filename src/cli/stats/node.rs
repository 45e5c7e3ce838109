//! What a node counts, as a table or as JSON.

use serde_json::{Map, Value};

use crate::{cli::table, nodes::NodeFigure};

/// A row for each figure, or for each of its samples.
pub(super) fn text(figures: &[NodeFigure]) -> String {
    let mut table = table(["FIGURE", "VALUE", ""]);
    for figure in figures {
        for (of, value) in &figure.samples {
            let name = [figure.name.as_str(), of].join(" ");
            table.add_row([name.trim_end(), &value.to_string(), &figure.help]);
        }
    }
    table.trim_fmt() + "\n"
}

/// An object with a number for each figure, or an object of numbers.
pub(super) fn json(figures: &[NodeFigure]) -> String {
    let value = |figure: &NodeFigure| match &figure.samples[..] {
        [(of, value)] if of.is_empty() => Value::from(*value),
        samples => samples.iter().map(|(of, value)| (of.clone(), Value::from(*value))).collect(),
    };
    let object: Map<_, _> = figures.iter().map(|figure| (figure.name.clone(), value(figure))).collect();
    format!("{}\n", Value::from(object))
}
