/**
 * Drawing for many at once. {@link org.perflow.serve.Engine} is the front door: it takes {@link
 * org.perflow.serve.JobRequest}s into a bounded queue ({@link org.perflow.serve.JobQueue}), and one
 * worker, which owns the models ({@link org.perflow.serve.ModelStore}), draws those that wait and
 * suit each other in one batch ({@link org.perflow.serve.Worker}). What becomes of a request is
 * seen in its {@link org.perflow.serve.Job}. Nothing here knows of HTTP: that is {@code
 * org.perflow.serve.http}.
 */
@NullMarked
package org.perflow.serve;

import org.jspecify.annotations.NullMarked;
