//! the networks: nn/ shared layers, then one folder a family: wan/, taehv/, minilm/
