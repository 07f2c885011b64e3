convnext_test(goldens_test goldens_test.cc golden.cc)
