/**
 * Compares methods: {@link org.perflow.compare.Comparison} is the front door, {@link
 * org.perflow.compare.ComparePlan} what it is told, {@link org.perflow.compare.Compared} what it
 * found out. In between {@link org.perflow.compare.Training} makes the students, and {@link
 * org.perflow.compare.Transferred} is what becomes of them on another fine-tune of the teacher.
 */
@NullMarked
package org.perflow.compare;

import org.jspecify.annotations.NullMarked;
