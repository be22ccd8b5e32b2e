//! What a plain YAML scalar means to go-yaml v3: a hybrid of YAML 1.1 and 1.2.
