convnext_test(train_test nn_test.cc train_test.cc golden.cc LIBRARIES convnext_train LABELS heavy)
libtorch_precompiled_header(train_test)
