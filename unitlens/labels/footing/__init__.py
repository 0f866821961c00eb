"""All labels on one footing: where what they mean is, beside where their units are active, whoever named them."""
