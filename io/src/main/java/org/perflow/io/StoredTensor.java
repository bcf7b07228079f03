package org.perflow.io;

import org.perflow.tensor.DType;

/** A tensor of a pickle, in the elements {@code [offset, offset + span)} of its storage. */
@SuppressWarnings("ArrayRecordComponent") // a shape is an array everywhere in this project
record StoredTensor(Storage storage, long offset, long span, long[] shape, long[] strides) {
  /** Elements of one type in a row, which tensors may share. */
  record Storage(String key, DType dtype, long numel) {
    long bytes() {
      return numel * dtype.bytes();
    }
  }
}
