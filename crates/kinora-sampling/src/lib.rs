//! schedules (sigmas), samplers (update rules), guidance, seeded noise; knows no model
