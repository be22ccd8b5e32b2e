//! Whether two trees hold the same keys and values in the same order, whatever their comments and layout.

use super::{NodeId, Origin, Tree, Value};

/// Returns whether two trees hold the same keys and values in the same order, whatever their comments.
pub(crate) fn same_values(left: &Tree, right: &Tree) -> bool {
    let mut right_values = values(right);
    let equal = values(left).all(|(left_id, depth)| {
        right_values.next().is_some_and(|(right_id, right_depth)| {
            depth == right_depth
                && left.key(left_id) == right.key(right_id)
                && same_value(left, left_id, right, right_id)
        })
    });
    equal && right_values.next().is_none()
}

/// Returns the nodes that are neither comments nor metadata, each with its depth, 1 for a document.
pub(crate) fn values(tree: &Tree) -> impl Iterator<Item = (NodeId, usize)> + '_ {
    let is_value = |id: NodeId| {
        let node = tree.node(id);
        node.origin != Origin::Metadata && !matches!(node.value, Value::Comment(_))
    };
    let mut ends: Vec<usize> = Vec::new();
    tree.nodes().filter(move |&(id, _)| is_value(id)).map(move |(id, node)| {
        while ends.pop_if(|end| *end <= id.index()).is_some() {}
        ends.push(node.end as usize);
        (id, ends.len())
    })
}

/// Returns whether two nodes hold the same scalar, or are both maps or both lists.
pub(crate) fn same_value(left: &Tree, left_id: NodeId, right: &Tree, right_id: NodeId) -> bool {
    match (left.node(left_id).value, right.node(right_id).value) {
        (Value::Str(left_text), Value::Str(right_text))
        | (Value::Time(left_text), Value::Time(right_text)) => {
            left.bytes(left_text) == right.bytes(right_text)
        }
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || left.is_nan() && right.is_nan()
        }
        // An integral float is written without a point, so that it reads back as an integer.
        (Value::Float(float), Value::Int(int)) | (Value::Int(int), Value::Float(float)) => {
            float == int as f64
        }
        (left, right) => left == right,
    }
}
