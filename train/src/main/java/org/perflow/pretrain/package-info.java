/**
 * Teachers of one's own: {@link org.perflow.pretrain.Pretraining} is the front door; it minimises
 * {@link org.perflow.pretrain.VaeObjective}, then {@link org.perflow.pretrain.PretrainObjective},
 * by the loop of {@link org.perflow.train}.
 */
@NullMarked
package org.perflow.pretrain;

import org.jspecify.annotations.NullMarked;
