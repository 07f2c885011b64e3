convnext_test(tensor_compare_test tensor_compare_test.cc)
convnext_test(kernels_test kernels_test.cc depthwise_gradient_test.cc)
convnext_test(engine_test engine_test.cc allocations.cc)
convnext_script_test(simd_stays_in_its_namespace $<TARGET_FILE:convnext>)
