/**
 * What a training will take in memory, worked out before it starts, and what would make it fit:
 * {@link org.perflow.memory.MemoryPlan} of a {@link org.perflow.memory.Workload}.
 */
@NullMarked
package org.perflow.memory;

import org.jspecify.annotations.NullMarked;
