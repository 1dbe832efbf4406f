//! parse, map, diffuse, render: from a prompt to a finished clip; tasks, progress, cancel
